# cmake --install puts the program, its manual pages and completions, the library with headers, CMake package and pkg-config
# file, and the models below a prefix; cpack -G DEB makes Debian packages of the same parts (docs/packages.md).
include(CMakePackageConfigHelpers)

install(TARGETS tessera RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)

# Pages and completions come from the program's own list of options.
set(manual ${CMAKE_BINARY_DIR}/manual)
add_custom_command(OUTPUT ${manual}/stamp DEPENDS tessera VERBATIM
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${manual}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${manual}/man ${manual}/completion
  COMMAND tessera man -q -o ${manual}/man
  COMMAND sh -c "for shell in bash zsh fish; do \"$1\" completion $shell > \"$2/$shell\" || exit 1; done" sh
          $<TARGET_FILE:tessera> ${manual}/completion
  COMMAND ${CMAKE_COMMAND} -E touch ${manual}/stamp)
add_custom_target(tessera_manual ALL DEPENDS ${manual}/stamp)
install(DIRECTORY ${manual}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program FILES_MATCHING PATTERN "*.1")
install(FILES ${manual}/completion/bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME tessera
  COMPONENT program)
install(FILES ${manual}/completion/zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _tessera
  COMPONENT program)
install(FILES ${manual}/completion/fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME tessera.fish
  COMPONENT program)

install(DIRECTORY ${CMAKE_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/tessera/models COMPONENT models
  PATTERN "training" EXCLUDE)

if(TESSERA_BUILD_LIBRARY)
  install(TARGETS tessera_shared EXPORT TesseraTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/tessera DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/Tessera)
  install(EXPORT TesseraTargets NAMESPACE Tessera:: DESTINATION ${package} COMPONENT development)
  configure_package_config_file(cmake/templates/TesseraConfig.cmake.in ${CMAKE_BINARY_DIR}/TesseraConfig.cmake
    INSTALL_DESTINATION ${package})
  # Before 1.0 a minor version may break (https://semver.org, 4).
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/TesseraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/TesseraConfig.cmake ${CMAKE_BINARY_DIR}/TesseraConfigVersion.cmake
    DESTINATION ${package} COMPONENT development)
  configure_file(cmake/templates/tessera.pc.in ${CMAKE_BINARY_DIR}/tessera.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/tessera.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
endif()

if(TESSERA_BUILD_LIBRARY AND TESSERA_BUILD_PYTHON)
  # The distribution's interpreter has the distribution's pybind11 and NumPy; another one first on the path has its own.
  if(NOT Python_EXECUTABLE AND EXISTS /usr/bin/python3)
    set(Python_EXECUTABLE /usr/bin/python3 CACHE FILEPATH "Interpreter that the Python package is built for")
  endif()
  find_package(Python 3.9 QUIET COMPONENTS Interpreter Development.Module)
  set(PYBIND11_FINDPYTHON ON)
  if(Python_FOUND)
    find_package(pybind11 CONFIG QUIET)
  endif()
  if(pybind11_FOUND)
    # Debian's own folder of packages, whatever interpreter's version; elsewhere -DTESSERA_PYTHON_DIR=...
    set(TESSERA_PYTHON_DIR lib/python3/dist-packages CACHE STRING "Folder below the prefix that gets the Python package")
    add_subdirectory(python)
  else()
    message(STATUS "Python package: not built, there is no pybind11")
  endif()
endif()

include(cmake/packages.cmake)
include(cmake/reference.cmake)
