# What the HTML report carries with it: texts that become C arrays in the build folder.
#
# As a script, this file writes one: cmake -D INPUT=page.js -D NAME=qp_page_js -D OUTPUT=page_js.c -P Embed.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ "${INPUT}" text)
  string(TOLOWER "${text}" lower)
  foreach(end "</script" "</style" "<!--") # would end the text's element, or change how it is read
    string(FIND "${lower}" "${end}" found)
    if(NOT found EQUAL -1)
      message(FATAL_ERROR "${INPUT} contains '${end}', so it cannot stand inside a page")
    endif()
  endforeach()
  file(READ "${INPUT}" digits HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" digits "${digits}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," digits "${digits}")
  file(WRITE "${OUTPUT}" "#include \"html_assets.h\"\n\nconst char ${NAME}[] = {\n${digits}0\n};\n")
  return()
endif()

# Chart.js, whole in one file, as Debian's libjs-chart.js has it under one of these names.
find_file(QP_CHART_JS NAMES chart.umd.js chart.min.js
          PATHS /usr/share/javascript/chart.js /usr/share/nodejs/chart.js/dist NO_DEFAULT_PATH
          DOC "Chart.js, which the HTML report carries with it")
if(NOT QP_CHART_JS)
  message(FATAL_ERROR "Chart.js was not found: install Debian's libjs-chart.js, or set QP_CHART_JS to its chart.umd.js")
endif()

# qp_embed(TARGET NAME FILE): adds the text of FILE to the target as the array NAME (reports/html_assets.h).
function(qp_embed target name file)
  set(output "${PROJECT_BINARY_DIR}/embedded/${name}.c")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND ${CMAKE_COMMAND} -D "INPUT=${file}" -D NAME=${name} -D "OUTPUT=${output}"
            -P "${PROJECT_SOURCE_DIR}/cmake/Embed.cmake"
    DEPENDS "${file}" "${PROJECT_SOURCE_DIR}/cmake/Embed.cmake"
    COMMENT "Embedding ${name}" VERBATIM)
  target_sources(${target} PRIVATE "${output}")
  set_source_files_properties("${output}" PROPERTIES INCLUDE_DIRECTORIES "${PROJECT_SOURCE_DIR}/reports")
endfunction()
