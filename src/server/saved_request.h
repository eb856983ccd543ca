/// A request as it can be kept and read again: its JSON and its pictures as the files of a form.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "image/image_io.h"
#include "server/job_request.h"

namespace tessera::server {

struct SavedRequest {
  std::string json;             // what parse_job_request takes
  std::vector<FormPart> files;  // its pictures, PNGs: "image", "mask", "keep_mask", "onto", "piece0" ..
};

/// The bytes of a PNG file.
using PngWriter = std::function<std::string(const Image& picture)>;

/// ensures: read_saved of it asks for the same pictures.
SavedRequest saved_request(
    const JobRequest& request, const PngWriter& png = [](const Image& picture) { return encode_png(picture); });

/// Throws HttpError where the limits are narrower now. notes: of the request as it was taken.
JobRequest read_saved(const SavedRequest& saved, const std::vector<std::string>& notes, const ServiceLimits& limits);

/// One JSON object with the pictures in it as data URIs: what a client sends again.
nlohmann::json with_pictures(const SavedRequest& saved);

}  // namespace tessera::server
