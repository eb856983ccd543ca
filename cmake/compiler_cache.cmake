# Where ccache is installed, a source that was compiled before (in another build folder, another clone) is not compiled again.
# Precompiled headers ask for the two settings below (ccache's manual, "Precompiled headers"); paths below the folder that
# holds the checkout count as relative, and where they are mapped to (-ffile-prefix-map) does not count, so that two clones share what they
# compiled.
option(TESSERA_CCACHE "Compile through ccache where it is installed" ON)
find_program(TESSERA_CCACHE_PROGRAM ccache)
mark_as_advanced(TESSERA_CCACHE_PROGRAM)
if(TESSERA_CCACHE AND TESSERA_CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  get_filename_component(tessera_around ${CMAKE_SOURCE_DIR} DIRECTORY)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${tessera_around} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros "CCACHE_IGNOREOPTIONS=-ffile-prefix-map=*" ${TESSERA_CCACHE_PROGRAM})
  add_compile_options(-fpch-preprocess)
endif()
