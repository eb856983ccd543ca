#include "cli/config_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <istream>
#include <set>

#include "cli/suggestion.h"
#include "runtime/error.h"
#include "training/bounded_toml.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostConfig = 1 << 20;  // bytes

std::string usual_file() {
  if (const char* named = std::getenv("TESSERA_CONFIG")) return named;
  if (const char* folder = std::getenv("XDG_CONFIG_HOME"); folder != nullptr && *folder != '\0')
    return (fs::path(folder) / "tessera" / "config.toml").string();
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return (fs::path(home) / ".config" / "tessera" / "config.toml").string();
  return {};
}

const CLI::App* verb_at(const CLI::App& app, const std::vector<std::string>& path) {
  const auto* at = &app;
  for (const auto& name : path) at = at->get_subcommand(name);
  return at;
}

/// What CLI11 asks for the items of a file; the verb has been parsed by then.
class TomlDefaults : public CLI::Config {
 public:
  explicit TomlDefaults(const CLI::App& app) : app_(app) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

  std::vector<CLI::ConfigItem> from_config(std::istream& stream) const override {
    const auto file = app_.get_config_ptr()->as<std::string>();
    std::string text(kMostConfig + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kMostConfig) throw UsageError(fmt::format("{}: more than {} bytes", file, kMostConfig));
    std::vector<std::string> path;
    for (const auto* at = &app_; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      path.push_back(at->get_name());
    }
    try {
      return items_of(read_toml(text, file), path, file);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      throw UsageError(error.what());  // a text that is no TOML is wrong usage as well
    }
  }

 private:
  std::vector<CLI::ConfigItem> items_of(const toml::table& root, const std::vector<std::string>& path,
                                        const std::string& file) const {
    std::vector<CLI::ConfigItem> defaults;
    std::set<std::string> taken;
    const auto& verb = *verb_at(app_, path);
    const auto tables = tables_of(root, path, file);
    for (std::size_t depth = tables.size(); depth-- > 0;) {  // the verb's own first
      const std::vector<std::string> above(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(depth));
      for (const auto& [key, node] : *tables[depth]) {
        const std::string name(key.str());
        if (node.is_table()) {
          require_verb(above, name, file);
          continue;
        }
        auto flag = name;
        std::replace(flag.begin(), flag.end(), '_', '-');
        if (verb.get_option_no_throw("--" + flag) == nullptr) {
          if (depth > 0 && depth == path.size()) refuse_key(verb, name, file);
          continue;  // another verb's
        }
        if (!taken.insert(flag).second) continue;
        CLI::ConfigItem item;
        item.parents = path;
        item.name = flag;
        item.inputs = words_of(node, fmt::format("{}: {}", file, name));
        defaults.push_back(std::move(item));
      }
    }
    return defaults;
  }

  /// The file's table and those of the verbs on the way, as far as there are any.
  static std::vector<const toml::table*> tables_of(const toml::table& root, const std::vector<std::string>& path,
                                                   const std::string& file) {
    std::vector<const toml::table*> tables = {&root};
    for (const auto& verb : path) {
      const auto* node = tables.back()->get(verb);
      if (node == nullptr) break;
      require(node->is_table(), "{}: {}: expected a table, [{}]", file, verb, verb);
      tables.push_back(node->as_table());
    }
    return tables;
  }

  void require_verb(const std::vector<std::string>& above, const std::string& name, const std::string& file) const {
    std::vector<std::string> names;
    for (const auto* verb : verb_at(app_, above)->get_subcommands({})) names.push_back(verb->get_name());
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw UsageError(fmt::format("{}: [{}]: no such verb{}", file, name, did_you_mean(name, names)));
  }

  [[noreturn]] static void refuse_key(const CLI::App& verb, const std::string& name, const std::string& file) {
    std::vector<std::string> names;
    for (const auto* option : verb.get_options()) {
      for (const auto& each : option->get_lnames()) names.push_back(each);
    }
    throw UsageError(fmt::format("{}: {}: no option of {}{}", file, name, verb.get_name(), did_you_mean(name, names)));
  }

  static std::string word_of(const toml::node& node, const std::string& what) {
    if (const auto text = node.value<std::string>(); node.is_string() && text) return *text;
    if (node.is_boolean()) return *node.value<bool>() ? "true" : "false";
    if (node.is_integer()) return fmt::format("{}", *node.value<std::int64_t>());
    if (node.is_floating_point()) return fmt::format("{}", *node.value<double>());
    throw UsageError(fmt::format("{}: expected a text, a number, true, false or a list of them", what));
  }

  static std::vector<std::string> words_of(const toml::node& node, const std::string& what) {
    if (!node.is_array()) return {word_of(node, what)};
    std::vector<std::string> words;
    for (const auto& element : *node.as_array()) words.push_back(word_of(element, what));
    return words;
  }

  const CLI::App& app_;
};

}  // namespace

void add_config_file(CLI::App& app) {
  const auto file = usual_file();
  if (const char* named = std::getenv("TESSERA_CONFIG"); named != nullptr && *named != '\0' && !fs::exists(named))
    throw UsageError(fmt::format("{}: no such file (TESSERA_CONFIG)", named));
  app.set_config("--config", file, "TOML file of defaults; empty: none")->type_name("FILE");
  app.config_formatter(std::make_shared<TomlDefaults>(app));
}

}  // namespace tessera::cli
