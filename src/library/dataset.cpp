/// Data sets as trainings read them.
#include "data/dataset.h"

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "library/arguments.h"
#include "library/boundary.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"

struct tessera_dataset {
  tessera::Dataset data;
  std::vector<std::int64_t> rows;
  std::string record;  // of the latest call
};

using tessera::UsageError;
using tessera::library::guarded;
using tessera::library::require_given;

extern "C" {

tessera_status tessera_dataset_open(const char* path, const char* options, tessera_dataset** out) {
  if (out != nullptr) *out = nullptr;
  return guarded([&] {
    require_given(path, "path");
    require_given(out, "out");
    tessera::library::Arguments arguments(options);
    tessera::DatasetOptions opening;
    opening.path = path;
    opening.size = arguments.whole("size", 0, 0, 1 << 14);
    opening.background = arguments.text("background", opening.background);
    opening.upscale = arguments.flag("upscale");
    opening.validation_fraction = arguments.number("validation_fraction", opening.validation_fraction, 0, 0.999);
    opening.split_seed = arguments.seed();
    opening.choice.where = arguments.texts("where");
    opening.choice.split_field = arguments.text("split_field");
    opening.choice.caption_field = arguments.text("caption_field");
    const auto split = tessera::parse_split(arguments.text("split", "all"));
    arguments.require_all_taken();
    auto data = tessera::Dataset::open(opening);
    auto rows = data.split(split);
    *out = new tessera_dataset{std::move(data), std::move(rows), {}};
  });
}

void tessera_dataset_free(tessera_dataset* dataset) {
  delete dataset;
}

int64_t tessera_dataset_count(const tessera_dataset* dataset) {
  return dataset == nullptr ? 0 : static_cast<std::int64_t>(dataset->rows.size());
}

int tessera_dataset_size(const tessera_dataset* dataset) {
  return dataset == nullptr ? 0 : static_cast<int>(dataset->data.image_size());
}

tessera_status tessera_dataset_image(const tessera_dataset* dataset, int64_t i, uint8_t* pixels) {
  return guarded([&] {
    require_given(dataset, "dataset");
    require_given(pixels, "pixels");
    if (i < 0 || i >= tessera_dataset_count(dataset))
      throw UsageError(fmt::format("image {}: expected 0 to {}", i, tessera_dataset_count(dataset) - 1));
    const auto image = dataset->data.image(dataset->rows[static_cast<std::size_t>(i)]).permute({1, 2, 0}).contiguous();
    std::memcpy(pixels, image.data_ptr<std::uint8_t>(), static_cast<std::size_t>(image.numel()));
  });
}

const char* tessera_dataset_record(tessera_dataset* dataset, int64_t i) {
  if (dataset == nullptr || i < 0 || i >= tessera_dataset_count(dataset)) return "{}";
  const auto status = guarded([&] {
    const auto row = dataset->rows[static_cast<std::size_t>(i)];
    const auto& item = dataset->data.item(row);
    nlohmann::json record = {{"name", item.file_name}, {"captions", dataset->data.captions(row)}};
    if (item.label >= 0) {
      record["label"] = item.label;
      record["class"] = dataset->data.class_names().at(static_cast<std::size_t>(item.label));
    }
    const auto fields = tessera::json_or_discarded(item.fields);
    if (fields.is_object()) record["fields"] = fields;
    dataset->record = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  });
  return status == TESSERA_OK ? dataset->record.c_str() : "{}";
}

}  // extern "C"
