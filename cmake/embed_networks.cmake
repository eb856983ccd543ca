# tessera_embed_networks(<folder> <from>): the .json and .safetensors files of <from> become part of the library of src/<folder>,
# found through src/<folder>/embedded_networks.h. The assembler copies the bytes (.incbin): megabytes of numbers as C++ source
# would take the compiler minutes.
function(tessera_embed_networks folder from)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${from}/*.json ${CMAKE_SOURCE_DIR}/${from}/*.safetensors)
  set(data "")
  set(symbols "")
  set(entries "")
  set(number 0)
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    string(APPEND data "    \".balign 64\\ntessera_network_${number}:\\n.incbin \\\"${file}\\\"\\ntessera_network_${number}_end:\\n.byte 0\\n\"\n")
    string(APPEND symbols "extern const char tessera_network_${number}[], tessera_network_${number}_end[];\n")
    string(APPEND entries
      "    {\"${name}\", {tessera_network_${number}, static_cast<std::size_t>(tessera_network_${number}_end - tessera_network_${number})}},\n")
    string(APPEND globals "    \".globl tessera_network_${number}\\n.hidden tessera_network_${number}\\n.globl tessera_network_${number}_end\\n.hidden tessera_network_${number}_end\\n\"\n")
    math(EXPR number "${number} + 1")
  endforeach()
  set(output ${CMAKE_BINARY_DIR}/embedded_networks.cpp)
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT "// Written by cmake/embed_networks.cmake.
#include \"features/embedded_networks.h\"

#include <cstddef>
#include <map>

#include \"runtime/error.h\"

asm(\".pushsection .rodata\\n\"
@globals@@data@    \".popsection\\n\");

extern \"C\" {
@symbols@}

namespace tessera {

std::string_view embedded_network(const std::string& name) {
  static const std::map<std::string, std::string_view> files = {
@entries@  };
  const auto found = files.find(name);
  require(found != files.end(), \"{}: not among the feature networks inside the program\", name);
  return found->second;
}

}  // namespace tessera
")
  set_source_files_properties(${output} PROPERTIES OBJECT_DEPENDS "${files}" SKIP_UNITY_BUILD_INCLUSION ON)
  target_sources(tessera_${folder} PRIVATE ${output})
endfunction()
