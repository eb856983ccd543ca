# tessera_embed(<folder> <subfolder>): the files of src/<folder>/<subfolder> become byte arrays inside the library, so that
# the program needs none of them at run time. They are found through src/<folder>/embedded_files.h.
# Run as a script (cmake -P) it writes the .cpp.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB_RECURSE files LIST_DIRECTORIES false RELATIVE ${FOLDER} ${FOLDER}/*)
  list(SORT files)
  set(arrays "")
  set(entries "")
  set(number 0)
  foreach(file IN LISTS files)
    file(READ ${FOLDER}/${file} bytes HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(APPEND arrays "constexpr unsigned char kFile${number}[] = {\n${bytes}0x00};\n")
    string(APPEND entries "    {\"${file}\", {reinterpret_cast<const char*>(kFile${number}), sizeof(kFile${number}) - 1}},\n")
    math(EXPR number "${number} + 1")
  endforeach()
  file(WRITE ${OUTPUT}.new "// Written by cmake/embed_files.cmake.\n#include \"server/embedded_files.h\"\n\nnamespace tessera::server {\nnamespace {\n\n${arrays}\n}  // namespace\n\nconst std::map<std::string, std::string_view>& embedded_files() {\n  static const std::map<std::string, std::string_view> files = {\n${entries}  };\n  return files;\n}\n\n}  // namespace tessera::server\n")
  file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
  return()
endif()

set(TESSERA_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(tessera_embed folder subfolder)
  set(from ${CMAKE_SOURCE_DIR}/src/${folder}/${subfolder})
  set(output ${CMAKE_BINARY_DIR}/embedded_${subfolder}.cpp)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${from}/*)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${from} -DOUTPUT=${output} -P ${TESSERA_EMBED_SCRIPT}
    COMMAND ${CMAKE_COMMAND} -E touch ${output}
    DEPENDS ${files} ${TESSERA_EMBED_SCRIPT} VERBATIM)
  target_sources(tessera_${folder} PRIVATE ${output})
endfunction()
