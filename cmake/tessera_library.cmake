# tessera_library(<folder> [DEPENDS <folder>...] [EXTERNAL <target>...])
# One static library a folder of src/. The dependency list is the whole truth: tests/architecture checks includes against it.
set(TESSERA_SANITIZE_FLAGS "")
if(TESSERA_SANITIZE)
  # GCC's documentation: the sanitizers' code makes -Wmaybe-uninitialized warn about what is initialised.
  set(TESSERA_SANITIZE_FLAGS -fsanitize=${TESSERA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -Wno-maybe-uninitialized)
endif()

add_library(tessera_options INTERFACE)
target_include_directories(tessera_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(tessera_options INTERFACE -pthread -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  $<$<BOOL:${TESSERA_WERROR}>:-Werror> ${TESSERA_SANITIZE_FLAGS} -fno-semantic-interposition
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)  # the same bytes from whatever folder
# GCC 13's warning takes functions that return a reference into an argument for such that return one to a temporary, GCC 14's
# takes the single pointer of LibTorch's small vectors for the whole of what is copied.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  target_compile_options(tessera_options INTERFACE -Wno-dangling-reference -Wno-array-bounds -Wno-stringop-overflow)
endif()
target_link_options(tessera_options INTERFACE ${TESSERA_SANITIZE_FLAGS})
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/runtime/version.cpp PROPERTIES
  COMPILE_DEFINITIONS TESSERA_VERSION="${PROJECT_VERSION}" SKIP_UNITY_BUILD_INCLUSION ON)
target_link_libraries(tessera_options INTERFACE tessera_torch Threads::Threads)

# LibTorch's headers take longer to compile than all of Tessera: compile them once.
# (CONFIGURE writes where the content differs: configuring again rebuilds nothing.)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cpp CONTENT "// Carrier of the precompiled LibTorch headers.\n")
add_library(tessera_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
target_link_libraries(tessera_precompiled PUBLIC tessera_options)
target_precompile_headers(tessera_precompiled PRIVATE <torch/torch.h>)

set_property(GLOBAL PROPERTY TESSERA_DEPENDENCIES "")

function(tessera_library folder)
  cmake_parse_arguments(ARG "" "" "DEPENDS;EXTERNAL" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp)
  if(NOT sources)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/empty_${folder}.cpp CONTENT "// src/${folder} holds headers only.\n")
    set(sources ${CMAKE_BINARY_DIR}/empty_${folder}.cpp)
  endif()
  add_library(tessera_${folder} STATIC ${sources})
  list(TRANSFORM ARG_DEPENDS PREPEND tessera_ OUTPUT_VARIABLE depends)
  target_link_libraries(tessera_${folder} PUBLIC tessera_options ${depends} ${ARG_EXTERNAL})
  target_precompile_headers(tessera_${folder} REUSE_FROM tessera_precompiled)
  list(JOIN ARG_DEPENDS " " depends_text)
  set_property(GLOBAL APPEND PROPERTY TESSERA_DEPENDENCIES "${folder}: ${depends_text}")
endfunction()

function(tessera_program name)
  cmake_parse_arguments(ARG "" "FOLDER" "DEPENDS;EXTERNAL" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${ARG_FOLDER}/*.cpp)
  add_executable(${name} ${sources})
  list(TRANSFORM ARG_DEPENDS PREPEND tessera_ OUTPUT_VARIABLE depends)
  target_link_libraries(${name} PRIVATE tessera_options ${depends} ${ARG_EXTERNAL})
  target_precompile_headers(${name} REUSE_FROM tessera_precompiled)
endfunction()
