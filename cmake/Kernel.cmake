# qp_add_kernel(NAME [FILE ...]): the folder kernels/NAME. Its file names follow from its name, so a missing or misnamed file
# stops the configuration. Further files are further CUDA implementations.
function(qp_add_kernel name)
  foreach(file "${name}.h" "${name}_cpu.c" "${name}.cu" "${name}_oracle.c" "${name}_cases.c")
    if(NOT EXISTS "${PROJECT_SOURCE_DIR}/kernels/${name}/${file}")
      message(FATAL_ERROR "kernels/${name}/${file} is missing: every operation has a header, _cpu.c, .cu, _oracle.c and _cases.c")
    endif()
  endforeach()
  set(QP_KERNEL_NAMES ${QP_KERNEL_NAMES} "${name}" PARENT_SCOPE)
  set(QP_KERNEL_SOURCES ${QP_KERNEL_SOURCES}
      "kernels/${name}/${name}_cpu.c" "kernels/${name}/${name}_oracle.c" "kernels/${name}/${name}_cases.c" PARENT_SCOPE)
  list(TRANSFORM ARGN PREPEND "kernels/${name}/" OUTPUT_VARIABLE more)
  set(QP_KERNEL_CUDA_SOURCES ${QP_KERNEL_CUDA_SOURCES} "kernels/${name}/${name}.cu" ${more} PARENT_SCOPE)
endfunction()

# A folder below kernels/ that nobody added would be a kernel that nobody tests.
function(qp_check_every_kernel_is_added)
  file(GLOB headers RELATIVE "${PROJECT_SOURCE_DIR}/kernels" CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/kernels/*/*.h")
  foreach(header ${headers})
    get_filename_component(folder "${header}" DIRECTORY)
    if(NOT folder STREQUAL "numerics" AND NOT folder IN_LIST QP_KERNEL_NAMES)
      message(FATAL_ERROR "kernels/${folder} exists, but CMakeLists.txt has no qp_add_kernel(${folder})")
    endif()
  endforeach()
endfunction()
