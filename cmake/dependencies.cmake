# Everything that Tessera takes from the distribution, found once and named here.
find_package(Torch REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto SSL)
find_package(PkgConfig REQUIRED)

# LibTorch's headers are not ours to warn about. Where it was built with CUDA, so is Tessera.
add_library(tessera_torch INTERFACE)
target_include_directories(tessera_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
# The C++ library first: PyTorch's binaries from 2.5 on export parts of one that was linked into them, and a program that
# finds those first dies in std::filesystem (pytorch/pytorch#133437).
target_link_libraries(tessera_torch INTERFACE -lstdc++ ${TORCH_LIBRARIES})
separate_arguments(tessera_torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(tessera_torch INTERFACE ${tessera_torch_flags})
# at::parallel_for is a template in LibTorch's headers: compiled without OpenMP it is a plain loop. The thread sanitizer
# does not see libgomp's synchronisation.
if(NOT TESSERA_SANITIZE MATCHES "thread")
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(tessera_torch INTERFACE OpenMP::OpenMP_CXX)
endif()

if(TARGET torch_cuda)
  target_compile_definitions(tessera_torch INTERFACE TESSERA_WITH_CUDA=1)
  target_include_directories(tessera_torch SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${CUDA_INCLUDE_DIRS})
endif()

# LibTorch's c10d brings the ranks of a job together; its process group over sockets needs Gloo's headers, which not every
# LibTorch is shipped with. Without them there is one rank, and asking for more says so.
add_library(tessera_gloo INTERFACE)
find_path(TESSERA_GLOO_INCLUDE gloo/transport/device.h HINTS ${TORCH_INCLUDE_DIRS})
find_path(TESSERA_C10D_INCLUDE torch/csrc/distributed/c10d/ProcessGroupGloo.hpp HINTS ${TORCH_INCLUDE_DIRS})
if(TESSERA_GLOO_INCLUDE AND TESSERA_C10D_INCLUDE)
  target_include_directories(tessera_gloo SYSTEM INTERFACE ${TESSERA_GLOO_INCLUDE})
  target_compile_definitions(tessera_gloo INTERFACE TESSERA_WITH_GLOO=1)
endif()

# libvips reads and resizes pictures; a bare GPU machine builds without it and works from packed datasets.
add_library(tessera_vips INTERFACE)
if(TESSERA_WITH_VIPS)
  pkg_check_modules(vips REQUIRED IMPORTED_TARGET vips)
  target_link_libraries(tessera_vips INTERFACE PkgConfig::vips)
  target_compile_definitions(tessera_vips INTERFACE TESSERA_WITH_VIPS=1)
endif()

# libseccomp holds the processes that decode pictures of strangers to a list of system calls; without it they have rlimits.
add_library(tessera_seccomp INTERFACE)
pkg_check_modules(seccomp IMPORTED_TARGET libseccomp)
if(seccomp_FOUND)
  target_link_libraries(tessera_seccomp INTERFACE PkgConfig::seccomp)
  target_compile_definitions(tessera_seccomp INTERFACE TESSERA_WITH_SECCOMP=1)
endif()

# Boost.Beast parses and writes HTTP (headers alone); without it `tessera serve` says so.
add_library(tessera_http INTERFACE)
if(TESSERA_WITH_SERVER)
  find_package(Boost 1.74 REQUIRED)
  target_link_libraries(tessera_http INTERFACE Boost::headers)
  target_compile_definitions(tessera_http INTERFACE TESSERA_WITH_SERVER=1 BOOST_BEAST_USE_STD_STRING_VIEW BOOST_ASIO_NO_DEPRECATED)
endif()

# SQLite holds the table of a workspace's jobs; without it `tessera serve --workspace` says so.
add_library(tessera_sqlite INTERFACE)
find_package(SQLite3)
if(SQLite3_FOUND)
  target_link_libraries(tessera_sqlite INTERFACE SQLite::SQLite3)
  target_compile_definitions(tessera_sqlite INTERFACE TESSERA_WITH_SQLITE=1)
endif()

# libarchive streams zip and tar.
add_library(tessera_archive INTERFACE)
pkg_check_modules(archive IMPORTED_TARGET libarchive)
if(archive_FOUND)
  target_link_libraries(tessera_archive INTERFACE PkgConfig::archive)
  target_compile_definitions(tessera_archive INTERFACE TESSERA_WITH_ARCHIVE=1)
endif()

# oneDNN's own API, for packed bf16 and int8 products.
add_library(tessera_onednn INTERFACE)
find_library(TESSERA_DNNL_LIBRARY dnnl)
find_path(TESSERA_DNNL_INCLUDE oneapi/dnnl/dnnl.hpp)
if(TESSERA_DNNL_LIBRARY AND TESSERA_DNNL_INCLUDE)
  # Not find_package: the distribution's config insists on OpenCL, which the CPU engine does not use.
  target_link_libraries(tessera_onednn INTERFACE ${TESSERA_DNNL_LIBRARY})
  target_include_directories(tessera_onednn SYSTEM INTERFACE ${TESSERA_DNNL_INCLUDE})
  target_compile_definitions(tessera_onednn INTERFACE TESSERA_WITH_ONEDNN=1)
endif()

# Highway: vectors for every processor.
add_library(tessera_highway INTERFACE)
pkg_check_modules(highway QUIET IMPORTED_TARGET libhwy)
if(highway_FOUND)
  target_link_libraries(tessera_highway INTERFACE PkgConfig::highway)
  target_compile_definitions(tessera_highway INTERFACE TESSERA_WITH_HIGHWAY=1)
endif()

# zlib unpacks CLIP's own vocabulary.
find_package(ZLIB REQUIRED)

# utf8proc has Unicode's properties and normal forms, for the text tokenizer.
add_library(tessera_utf8proc INTERFACE)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
target_link_libraries(tessera_utf8proc INTERFACE PkgConfig::utf8proc)
