# libtessera.so: include/tessera/tessera.h and nothing else is visible in it (src/library/tessera.map).
if(NOT TESSERA_BUILD_LIBRARY)
  return()
endif()
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/library/*.cpp)
add_library(tessera_shared SHARED ${sources})
add_library(Tessera::tessera ALIAS tessera_shared)
set_target_properties(tessera_shared PROPERTIES
  OUTPUT_NAME tessera EXPORT_NAME tessera
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/src/library/tessera.map)
target_link_libraries(tessera_shared PRIVATE tessera_options tessera_training tessera_import)
target_precompile_headers(tessera_shared REUSE_FROM tessera_precompiled)
target_include_directories(tessera_shared PUBLIC
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# What registers itself (samplers, networks ...) is called by name from its registry's file: nothing needs --whole-archive.
target_link_options(tessera_shared PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/library/tessera.map -Wl,--no-undefined)
set_property(GLOBAL APPEND PROPERTY TESSERA_DEPENDENCIES "tessera: " "library: training import tessera")
