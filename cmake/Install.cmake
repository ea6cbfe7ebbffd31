# The program, the embedded model with its golden and prompts, and the libraries with their headers for those who test
# their own kernels in their own program.
install(TARGETS qwen3-parity RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS qp_kernels qp_model qp_harness qp_reports ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/qwen3-parity)
foreach(folder kernels model harness reports)
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/qwen3-parity FILES_MATCHING PATTERN "*.h"
          PATTERN "commands" EXCLUDE PATTERN "published" EXCLUDE PATTERN "vector_path.h" EXCLUDE)
endforeach()
install(DIRECTORY golden/qwen3-tiny DESTINATION ${CMAKE_INSTALL_DATADIR}/qwen3-parity)
install(FILES golden/qwen3-tiny.h5 golden/coherence.json reports/schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/qwen3-parity)

# The documentation, in folders as in the source, so that its pages' links to each other hold.
install(FILES docs/qwen3-parity.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN "*.1" EXCLUDE)
foreach(folder golden reports)
  install(FILES ${folder}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/${folder})
endforeach()

# Relative, so that the installed tree can be moved.
file(RELATIVE_PATH QP_PREFIX_FROM_PKGCONFIG "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
set(QP_PKGCONFIG_OPENMP "")
if(OpenMP_C_FOUND)
  set(QP_PKGCONFIG_OPENMP "${OpenMP_C_FLAGS}")
endif()
set(QP_PKGCONFIG_CUDA "")
if(QP_WITH_CUDA)
  set(QP_PKGCONFIG_CUDA "-L${CUDAToolkit_LIBRARY_DIR} -Wl,-rpath,${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lcublas -lstdc++ -lpthread -lrt -ldl")
endif()
configure_file(cmake/qwen3-parity.pc.in qwen3-parity.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/qwen3-parity.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
