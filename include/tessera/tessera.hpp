/// Tessera in C++17: discrete diffusion image models are loaded, sampled, edited, scored and trained. Header-only, over
/// tessera.h; link libtessera.
#pragma once

#include <tessera/dataset.hpp>
#include <tessera/error.hpp>
#include <tessera/grid.hpp>
#include <tessera/image.hpp>
#include <tessera/images.hpp>
#include <tessera/library.hpp>
#include <tessera/model.hpp>
#include <tessera/options.hpp>
#include <tessera/training.hpp>
