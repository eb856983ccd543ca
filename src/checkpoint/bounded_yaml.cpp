#include "checkpoint/bounded_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <map>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxYamlNodes = 10'000;
constexpr std::size_t kMaxYamlDepth = 32;
constexpr std::size_t kTextOfNode = 64;  // bytes

json scalar_value(const std::string& tag, const std::string& text) {
  if (tag == "!") return text;  // quoted
  const YAML::Node node(text);
  if (bool value = false; YAML::convert<bool>::decode(node, value)) return value;
  if (std::int64_t value = 0; YAML::convert<std::int64_t>::decode(node, value)) return value;
  if (double value = 0; YAML::convert<double>::decode(node, value)) return value;
  return text;
}

/// Builds the document from the parser's events.
class YamlBuilder : public YAML::EventHandler {
 public:
  explicit YamlBuilder(const std::string& where) : where_(where) {}

  json take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t anchor) override {
    count(1);
    done({nullptr, std::nullopt, anchor, 1});
  }
  void OnAlias(const YAML::Mark&, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    require(found != anchored_.end(), "{}: an alias of what is not there yet", where_);
    count(found->second.nodes);
    done({found->second.value, found->second.text, 0, found->second.nodes});
  }
  void OnScalar(const YAML::Mark&, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    const auto nodes = 1 + text.size() / kTextOfNode;  // an alias of a long text costs as much as its text
    count(nodes);
    done({scalar_value(tag, text), text, anchor, nodes});
  }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(json::array(), anchor);
  }
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(json::object(), anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Done {
    json value;
    std::optional<std::string> text;  // of a scalar, as it may be a key
    YAML::anchor_t anchor;            // 0: none
    std::size_t nodes;
  };
  struct Open {
    json value;
    YAML::anchor_t anchor;
    std::size_t before;              // nodes counted before it
    bool has_key = false;            // of a map: its next value belongs to a key
    std::optional<std::string> key;  // none: what the key is is no scalar
  };

  void count(std::size_t nodes) {
    nodes_ += nodes;
    require(nodes_ < kMaxYamlNodes, "{}: nested too deeply or too large for a model's config", where_);
  }

  void open(json container, YAML::anchor_t anchor) {
    require(open_.size() < kMaxYamlDepth, "{}: nested too deeply or too large for a model's config", where_);
    open_.push_back({std::move(container), anchor, nodes_, false, std::nullopt});
    count(1);
  }

  void close() {
    auto closed = std::move(open_.back());
    open_.pop_back();
    done({std::move(closed.value), std::nullopt, closed.anchor, nodes_ - closed.before});
  }

  void done(Done item) {
    if (item.anchor != 0) anchored_[item.anchor] = item;
    if (open_.empty()) {
      root_ = std::move(item.value);
      return;
    }
    auto& into = open_.back();
    if (into.value.is_array()) {
      into.value.push_back(std::move(item.value));
    } else if (!into.has_key) {
      into.has_key = true;
      into.key = std::move(item.text);
    } else {
      if (into.key) into.value[*into.key] = std::move(item.value);
      into.has_key = false;
    }
  }

  const std::string& where_;
  json root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Done> anchored_;
  std::size_t nodes_ = 0;
};

}  // namespace

json read_yaml(const std::string& text, const std::string& where) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    YamlBuilder builder(where);
    parser.HandleNextDocument(builder);
    return builder.take();
  } catch (const YAML::Exception& error) {
    fail("{}: malformed yaml: {}", where, printable(error.what()));
  }
}

}  // namespace tessera
