# Installs into a new folder, moves it, and uses it as a stranger would: the program with its embedded model, the
# documentation, and the libraries through pkg-config. Variables: BUILD, WORK, SOURCE, CC, and FLAGS that the libraries
# were built with.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${code}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK}")
run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${WORK}/first")
file(RENAME "${WORK}/first" "${WORK}/moved")

run("${WORK}/moved/bin/qwen3-parity" info)
if(NOT output MATCHES "moved/bin/../share/qwen3-parity/qwen3-tiny")
  message(FATAL_ERROR "the installed program does not use the installed model:\n${output}")
endif()
run("${WORK}/moved/bin/qwen3-parity" verify --only "one_token/*")

foreach(file man/man1/qwen3-parity.1 doc/qwen3-parity/docs/gate.md doc/qwen3-parity/reports/README.md
             doc/qwen3-parity/examples/ci/gate.json qwen3-parity/schema.json)
  if(NOT EXISTS "${WORK}/moved/share/${file}")
    message(FATAL_ERROR "share/${file} is not installed")
  endif()
endforeach()

file(GLOB_RECURSE pc "${WORK}/moved/*/qwen3-parity.pc")
get_filename_component(pc_folder "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} "${pc_folder}:$ENV{PKG_CONFIG_PATH}")
run(pkg-config --cflags --libs qwen3-parity)
string(STRIP "${output}" output)
separate_arguments(from_pkg_config UNIX_COMMAND "${output}")
separate_arguments(flags UNIX_COMMAND "${FLAGS}")
run(${CC} -std=c11 ${flags} "${SOURCE}/tests/use_library.c" -o "${WORK}/use_library" ${from_pkg_config})
run("${WORK}/use_library" "${WORK}/moved/share/qwen3-parity/qwen3-tiny")
