/// The names of a network's classes: `id2label` of transformer/config.json, as the hub's configurations call it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tessera {

inline constexpr std::size_t kLongestClassName = 1024;  // bytes

/// In: transformer/config.json, how many classes the network has, what begins an error. Out: a name for each class;
/// empty where the configuration has none. Throws Error saying what does not fit.
std::vector<std::string> class_names_from_config(const nlohmann::json& config, std::int64_t classes,
                                                 const std::string& where);
/// Into transformer/config.json. Names that are the numbers of their classes say nothing and are left out.
void put_class_names(const std::vector<std::string>& names, nlohmann::json& config);

/// The number of a class that is given by its name; where classes have no names their numbers are their names.
/// Throws UsageError listing what there is.
std::int64_t class_named(const std::string& name, const std::vector<std::string>& names, std::int64_t classes);

/// Labels of a data set (-1: none) in the model's numbers: classes are found by their names; where either has no names
/// by their numbers. data_names: those of the data set, called `where` in errors. Throws Error naming a class that the
/// model does not have.
std::vector<std::int64_t> labels_for_model(const std::vector<std::int64_t>& labels,
                                           const std::vector<std::string>& data_names,
                                           const std::vector<std::string>& names, std::int64_t classes,
                                           const std::string& where);

}  // namespace tessera
