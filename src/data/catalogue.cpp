#include "data/catalogue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "data/metadata_table.h"
#include "data/sample_pictures.h"
#include "data/text_bytes.h"
#include "image/image_io.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/foreign_bytes.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr const char* kLeavesFolder = "a name that leaves its folder";
constexpr std::size_t kLineBytes = 48;  // of a line kept as a text of its own, beside its characters
constexpr const char* kOtherOfSample = "another picture of its sample";

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin));
}

bool is_whole_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// At most so many lines.
std::vector<std::string> lines_of(std::string_view text, std::size_t most) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size() && lines.size() < most;) {
    const auto end = std::min(text.find('\n', begin), text.size());
    if (auto line = trimmed(text.substr(begin, end - begin)); !line.empty()) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

/// Joins names, texts and choices into a catalogue, one part after another.
class Joiner {
 public:
  explicit Joiner(const CatalogueInput& input)
      : input_(input), choice_(input.choice), archives_(input.archives.begin(), input.archives.end()) {
    limits_.bytes = input.max_value_bytes;
    limits_.held = &held_;
  }

  Catalogue join() {
    catalogue_.notes = input_.notes;
    for (const auto& other : input_.others) leave_out(other);
    sort_out();
    choose_samples();
    read_texts();
    index_items();
    records_.assign(catalogue_.items.size(), json::object());
    described_.assign(catalogue_.items.size(), false);
    join_metadata();
    join_companions();
    leave_orphans();
    name_undescribed();
    assign_splits();
    if (tables_.empty() && input_.folders_are_classes) label_by_folder();
    for (std::size_t i = 0; i < records_.size(); ++i) take_fields(i);
    check_caption_field();
    filter();
    say_captions();
    catalogue_.files += static_cast<std::int64_t>(items().size());
    return std::move(catalogue_);
  }

 private:
  struct Text {
    const std::string* name;
    std::string text;  // UTF-8
    bool used = false;
    bool broken = false;  // no text at all: a pointer to a file, say
  };

  std::vector<CatalogueItem>& items() { return catalogue_.items; }

  void add_problem(std::string text) {
    if (catalogue_.problems.size() < Catalogue::kKeptProblems) {
      catalogue_.problems.push_back(std::move(text));
    } else {
      ++catalogue_.more_problems;
    }
  }

  void leave_out(LeftOut file) {
    if (!file.expected) add_problem(printable(file.name) + ": " + file.reason);
    ++catalogue_.files;
    gone_.insert(canonical_name(file.name));
    catalogue_.left_out.push_back(std::move(file));
  }

  /// Every name is a candidate picture, a text, or left out.
  void sort_out() {
    std::set<std::string_view> texts;
    for (std::size_t i = 0; i < input_.names.size(); ++i) {
      const auto& name = input_.names[i];
      const auto ending = ending_of(name);
      if (is_hidden_name(name)) {
        leave_out({name, "hidden, or left behind by a file system", true});
      } else if (!is_safe_name(name)) {
        leave_out({name, kLeavesFolder, false});
      } else if (input_.sheets.contains(name)) {
        leave_out({name, "a contact sheet that this program made", true});
      } else if (is_image_name(name)) {
        CatalogueItem item;
        item.file = i;
        item.name = name;
        items().push_back(std::move(item));
      } else if (is_picture_ending(ending)) {
        leave_out({name, fmt::format(".{}: a format of pictures that is not read here", ending), false});
      } else if (is_text_name(name) && input_.texts.contains(name)) {
        if (!texts.insert(name).second) leave_out({name, "more than once, the first is taken", false});
      } else if (is_document_name(name)) {
        leave_out({name, "a document about the set", true});
      } else if (ending == "parquet") {
        leave_out({name, "a Parquet table, which is not read; expected metadata.jsonl or metadata.csv", false});
      } else if (ending.empty()) {
        leave_out({name, "no ending that tells a picture or a companion of one", false});
      } else {
        leave_out({name, fmt::format(".{}: no picture and no companion of one", printable(ending, 20)), false});
      }
    }
    std::stable_sort(items().begin(), items().end(),
                     [](const auto& left, const auto& right) { return natural_less(left.name, right.name); });
    const auto last = std::unique(items().begin(), items().end(), [&](const auto& left, const auto& right) {
      if (left.name != right.name) return false;
      leave_out({right.name, "more than once, the first is taken", false});
      return true;
    });
    items().erase(last, items().end());
  }

  /// Keeps the pictures at these places.
  void keep(const std::vector<std::size_t>& places) {
    std::vector<CatalogueItem> kept;
    for (const auto place : places) kept.push_back(std::move(items()[place]));
    items() = std::move(kept);
  }

  void choose_samples() {
    std::vector<std::string_view> names;
    for (const auto& item : items()) names.push_back(item.name);
    auto chosen = choose_pictures(names, input_.from_tar, choice_.image_field);
    const bool has_tables = std::any_of(input_.texts.begin(), input_.texts.end(),
                                        [](const auto& text) { return is_metadata_name(text.first); });
    // It may be a column of the metadata that names the picture.
    if (chosen.kept.empty() && has_tables) chosen = choose_pictures(names, input_.from_tar, "");
    for (const auto place : chosen.left) leave_out({items()[place].name, kOtherOfSample, true});
    for (const auto place : chosen.without)
      leave_out({items()[place].name, fmt::format("its sample has no picture '{}'", choice_.image_field), false});
    require(choice_.image_field.empty() || !chosen.kept.empty() || items().empty(),
            "image field '{}': no sample has it; the first picture is {}", choice_.image_field,
            items().empty() ? "" : printable(items().front().name));
    if (!chosen.left.empty()) {
      catalogue_.notes.push_back(fmt::format("samples hold several pictures ({}): '{}' is taken{}",
                                             fmt::join(chosen.fields, ", "), chosen.field,
                                             choice_.image_field.empty() ? ", --image-field chooses another" : ""));
    }
    if (!chosen.left.empty() || !chosen.without.empty()) keep(chosen.kept);
  }

  /// Decodes the texts, and says which of them are not in UTF-8.
  void read_texts() {
    std::map<std::string, std::vector<std::string>> encodings;
    for (const auto& [name, bytes] : input_.texts) {
      Text text{&name, {}, false, false};
      const auto other = bytes.empty() ? std::string() : foreign_bytes(std::string_view(bytes).substr(0, 512));
      if (other.empty()) {
        auto decoded = decode_text(bytes);
        text.text = std::move(decoded.text);
        if (decoded.encoding.empty()) {
          add_problem(printable(name) + ": its encoding is not known, some characters are lost");
        } else if (decoded.encoding != "UTF-8") {
          encodings[decoded.encoding].push_back(printable(name));
        }
      } else {
        text.broken = true;
        add_problem(printable(name) + ": " + other);
      }
      if (is_metadata_name(name)) {
        ++catalogue_.files, ++catalogue_.companions;
        tables_.push_back(std::move(text));
      } else if (const auto [at, added] = texts_.emplace(canonical_name(name), std::move(text)); !added) {
        leave_out({name, fmt::format("the same name as {}, which is taken", printable(*at->second.name)), false});
      }
    }
    for (const auto& [encoding, names] : encodings) {
      constexpr std::size_t kShown = 3;
      const bool all = names.size() <= kShown;
      catalogue_.notes.push_back(fmt::format("read as {}: {}{}", encoding,
                                             fmt::join(names.begin(), all ? names.end() : names.begin() + kShown, ", "),
                                             all ? "" : fmt::format(" and {} more texts", names.size() - kShown)));
    }
  }

  /// "sub/images.zip/" of "sub/images.zip/1.png"; empty: the name begins with no archive.
  std::string_view archive_of(std::string_view name) const {
    for (auto slash = name.find('/'); !archives_.empty() && slash != std::string_view::npos;
         slash = name.find('/', slash + 1)) {
      if (archives_.contains(name.substr(0, slash + 1))) return name.substr(0, slash + 1);
    }
    return {};
  }

  void index_items() {
    for (std::size_t i = 0; i < items().size(); ++i) {
      const auto& name = items()[i].name;
      exact_.emplace(name, i);
      canonical_.emplace(canonical_name(name), i);
      // What lies in an archive may be named as if it were unpacked, beside the archive or in a folder of its name.
      if (const auto archive = archive_of(name); !archive.empty()) {
        const auto folder = std::string(folder_of(archive.substr(0, archive.size() - 1)));
        const auto inner = name.substr(archive.size());
        aliases_.emplace(canonical_name(folder + inner), i);
        aliases_.emplace(
            canonical_name(std::string(without_ending(archive.substr(0, archive.size() - 1))) + "/" + inner), i);
      }
    }
  }

  /// The one item that a metadata line names; nothing: none, or several in archives.
  std::optional<std::size_t> find_item(const std::string& name) const {
    if (const auto found = exact_.find(name); found != exact_.end()) return found->second;
    const auto canonical = canonical_name(name);
    if (const auto found = canonical_.find(canonical); found != canonical_.end()) return found->second;
    const auto [first, last] = aliases_.equal_range(canonical);
    if (first == last) return std::nullopt;
    const bool one = std::all_of(first, last, [&](const auto& alias) { return alias.second == first->second; });
    return one ? std::optional(first->second) : std::nullopt;
  }

  void join_metadata() {
    for (auto& table : tables_) {
      if (table.broken) continue;
      read_metadata(*table.name, table.text, choice_.image_field, limits_,
                    [&](MetadataRow row) { join_row(*table.name, std::move(row)); });
    }
    keep_described_pictures();
  }

  void join_row(const std::string& table, MetadataRow row) {
    const auto where = fmt::format("{}:{}", printable(table), row.line);
    if (!row.problem.empty()) {
      add_problem(where + ": " + row.problem);
      return;
    }
    const auto folder = std::string(folder_of(table));
    const auto image = folder + row.file_name;
    const auto found = find_item(image);
    if (!found) {
      if (gone_.contains(canonical_name(image))) return;  // said already, with its reason
      add_problem(fmt::format("{}: file '{}' is missing", where, printable(image)));
      return;
    }
    for (const auto& other : row.other_files) {
      if (const auto place = find_item(folder + other); place && *place != *found) other_pictures_.insert(*place);
    }
    if (described_[*found]) {
      add_problem(fmt::format("{}: file '{}' is described twice", where, printable(image)));
      return;
    }
    described_[*found] = true;
    records_[*found] = std::move(row.fields);
  }

  /// Pictures that lines name beside their own (mask_file_name) are none of the set.
  void keep_described_pictures() {
    for (auto place = other_pictures_.begin(); place != other_pictures_.end();)
      place = described_[*place] ? other_pictures_.erase(place) : std::next(place);
    if (other_pictures_.empty()) return;
    std::vector<std::size_t> places;
    std::vector<json> records;
    std::vector<bool> described;
    for (std::size_t i = 0; i < items().size(); ++i) {
      if (other_pictures_.contains(i)) {
        leave_out({items()[i].name, kOtherOfSample, true});
        continue;
      }
      places.push_back(i);
      records.push_back(std::move(records_[i]));
      described.push_back(described_[i]);
    }
    keep(places);
    records_ = std::move(records);
    described_ = std::move(described);
  }

  /// The text beside a picture: 1.txt or 1.png.txt for 1.png, and the sample's 1.txt for 1.image.png.
  Text* companion(const CatalogueItem& item, std::string_view ending) {
    const auto key = sample_name(item.name).key;
    for (const auto stem : {std::string_view(item.name), without_ending(item.name), key}) {
      const auto found = texts_.find(canonical_name(fmt::format("{}.{}", stem, ending)));
      if (found == texts_.end()) continue;
      found->second.used = true;
      if (!found->second.broken) return &found->second;
    }
    return nullptr;
  }

  void join_companions() {
    written_.resize(items().size());
    for (std::size_t i = 0; i < items().size(); ++i) {
      const auto& item = items()[i];
      if (auto* text = companion(item, "json")) {
        auto object = json_or_discarded(text->text, limits_);
        if (object.is_object()) {
          if (!described_[i]) records_[i] = std::move(object);
        } else {
          add_problem(printable(*text->name) + ": not a JSON object");
        }
      }
      const auto* text = companion(item, "txt");
      const auto* caption = companion(item, "caption");
      const auto* chosen = choice_.caption_field.empty() ? nullptr : companion(item, choice_.caption_field);
      if (!choice_.caption_field.empty()) {
        text = chosen;
      } else if (!text) {
        text = caption;
      }
      if (text) {
        // One more than there is room for is refused below.
        const auto room = (limits_.bytes - std::min(limits_.bytes, held_)) / kLineBytes + 1;
        written_[i] = choice_.whole_captions ? std::vector{trimmed(text->text)} : lines_of(text->text, room);
        std::erase(written_[i], "");
        held_ += kLineBytes * written_[i].size();
        require(held_ <= limits_.bytes, "{}: describes more than {} MiB of values", printable(*text->name),
                limits_.bytes >> 20);
      }
      const auto* label = companion(item, "cls");
      if (label && !(described_[i] && records_[i].contains("label"))) {
        records_[i]["label"] = trimmed(label->text);
        class_files_.insert(i);
      }
    }
  }

  /// Texts beside which no picture lies.
  void leave_orphans() {
    std::set<std::string> stems;
    for (const auto& name : gone_) {
      stems.insert(name);
      stems.insert(std::string(without_ending(name)));
      stems.insert(std::string(sample_name(name).key));
    }
    for (std::size_t i = 0; i < items().size(); ++i)
      sample_keys_.insert(canonical_name(std::string(sample_name(items()[i].name).key) + ".x"));
    for (const auto& [name, text] : texts_) {
      if (text.used || sample_keys_.contains(canonical_name(std::string(sample_name(name).key) + ".x"))) {
        ++catalogue_.files, ++catalogue_.companions;
      } else if (stems.contains(std::string(without_ending(name))) ||
                 stems.contains(std::string(sample_name(name).key))) {
        leave_out({*text.name, "belongs to a picture that is left out", true});
      } else if (is_document_name(name)) {
        leave_out({*text.name, "a document about the set", true});
      } else {
        leave_out({*text.name, "no picture of this name", false});
      }
    }
  }

  void name_undescribed() {
    if (tables_.empty()) return;
    const auto table = std::string(base_name(*tables_.front().name));
    for (std::size_t i = 0; i < items().size(); ++i) {
      if (!described_[i] && records_[i].empty() && written_[i].empty())
        add_problem(fmt::format("{}: not in {}, kept without caption", printable(items()[i].name), table));
    }
  }

  /// By the chosen field, by 'split' where every picture has it, or by folders that are named train, val, test.
  void assign_splits() {
    const bool chosen = !choice_.split_field.empty();
    const auto field = chosen ? choice_.split_field : std::string("split");
    std::vector<std::optional<Split>> splits(items().size());
    std::set<std::string> words;
    std::size_t found = 0;
    bool any = false;
    for (std::size_t i = 0; i < items().size(); ++i) {
      const auto value = records_[i].find(field);
      if (value == records_[i].end()) continue;
      any = true;
      if (value->is_string()) splits[i] = split_of_word(value->get_ref<const std::string&>());
      found += splits[i].has_value();
      if (!splits[i] && words.size() < 5) words.insert(value->dump(-1, ' ', false, json::error_handler_t::replace));
    }
    if (chosen) {
      require(any || items().empty(), "split field '{}': no picture has it; the fields there are: {}", field,
              fields_text(all_fields()));
      require(words.empty(), "split field '{}': {}; expected train, validation or test", field, fmt::join(words, ", "));
      for (std::size_t i = 0; i < items().size(); ++i) items()[i].split = splits[i].value_or(Split::train);
      catalogue_.notes.push_back(fmt::format("train, validation and test are told by the field '{}'", field));
    } else if (found == items().size() && found > 0) {
      for (std::size_t i = 0; i < items().size(); ++i) items()[i].split = splits[i];
      catalogue_.notes.push_back("train, validation and test are told by the field 'split'");
    } else {
      split_by_folder();
    }
  }

  /// Where the first folder or archive begins that names a part, and which.
  std::optional<std::pair<std::size_t, Split>> split_folder(const std::string& name) const {
    const auto archive = archive_of(name);
    std::size_t begin = 0;
    for (auto end = name.find('/'); end != std::string::npos; end = name.find('/', begin)) {
      const auto component = std::string_view(name).substr(begin, end - begin);
      const bool is_archive = !archive.empty() && end + 1 == archive.size();
      if (const auto split = is_archive ? split_of_archive(component) : split_of_word(component))
        return {{begin, *split}};
      begin = end + 1;
    }
    return std::nullopt;
  }

  void split_by_folder() {
    std::set<Split> kinds;
    std::vector<std::optional<std::pair<std::size_t, Split>>> places;
    for (const auto& item : items()) {
      places.push_back(split_folder(item.name));
      if (places.back()) kinds.insert(places.back()->second);
    }
    if (kinds.size() < 2 || !kinds.contains(Split::train)) return;  // one part alone is a folder like others
    std::size_t outside = 0;
    split_begin_.resize(items().size());
    for (std::size_t i = 0; i < items().size(); ++i) {
      items()[i].split = places[i] ? places[i]->second : Split::train;
      if (places[i]) split_begin_[i] = places[i]->first;
      outside += !places[i];
    }
    catalogue_.notes.push_back(fmt::format(
        "train, validation and test are told by folders and archives of these names{}",
        outside == 0 ? "" : fmt::format("; {} pictures lie in none of them and are for training", outside)));
  }

  /// The name without its archive and without the folder that names its part.
  std::string class_path(std::size_t place) const {
    std::string name = catalogue_.items[place].name;
    const auto archive = archive_of(name).size();
    if (!split_begin_.empty() && split_begin_[place]) {
      const auto begin = *split_begin_[place];
      name.erase(begin, name.find('/', begin) + 1 - begin);
      if (begin < archive) return name;
    }
    return name.substr(archive);
  }

  /// Class sub-folders: the first folder below those that all images share. One folder for all is no class.
  void label_by_folder() {
    if (items().empty()) return;
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < items().size(); ++i) paths.push_back(class_path(i));
    std::string_view shared = folder_of(paths.front());
    for (const auto& path : paths) {
      while (!std::string_view(path).starts_with(shared)) {
        shared.remove_suffix(1);
        shared = folder_of(shared);
      }
    }
    const std::size_t skip = shared.size();
    const auto in_folder = [&](const std::string& path) { return path.find('/', skip) != std::string::npos; };
    if (!std::all_of(paths.begin(), paths.end(), in_folder)) return;
    for (std::size_t i = 0; i < paths.size(); ++i)
      items()[i].label = paths[i].substr(skip, paths[i].find('/', skip) - skip);
  }

  /// Takes captions and label out of a picture's record; the rest are its fields.
  void take_fields(std::size_t place) {
    auto& item = items()[place];
    auto record = records_[place];
    std::vector<std::string> captions;
    const auto take = [&](const std::string& name) {
      const auto found = record.find(name);
      if (found == record.end()) return false;
      captions = captions_of(*found);
      if (!captions.empty() || found->is_string()) record.erase(found);
      return !captions.empty();
    };
    if (!choice_.caption_field.empty()) {
      (void)take(choice_.caption_field);
    } else {
      for (const char* name : {"text", "caption", "captions"}) {
        if (take(name)) break;
      }
    }
    if (!written_[place].empty() && (!described_[place] || captions.empty())) captions = written_[place];
    for (auto& caption : captions) caption = valid_utf8(caption);
    if (!captions.empty()) {
      item.caption = captions.front();
      item.more_captions.assign(captions.begin() + 1, captions.end());
    }
    if (const auto label = record.find("label"); label != record.end() && label->is_string()) {
      item.label = label->get<std::string>();
      item.label_is_number = class_files_.contains(place) && is_whole_number(item.label);
      record.erase(label);
    } else if (label != record.end() && label->is_number_unsigned()) {
      item.label = std::to_string(label->get<std::uint64_t>());
      item.label_is_number = true;
      record.erase(label);
    }
    if (item.split && !says(record, *item.split)) record["split"] = split_name(*item.split);
    item.fields = record.dump(-1, ' ', false, json::error_handler_t::replace);
    count_fields(records_[place], catalogue_.fields);
  }

  static bool says(const json& record, Split split) {
    const auto found = record.find("split");
    return found != record.end() && found->is_string() && split_of_word(found->get_ref<const std::string&>()) == split;
  }

  FieldCounts all_fields() const {
    FieldCounts counts;
    for (const auto& record : records_) count_fields(record, counts);
    return counts;
  }

  void check_caption_field() const {
    const auto& field = choice_.caption_field;
    const auto& all = catalogue_.items;
    if (field.empty() || all.empty()) return;
    require(std::any_of(all.begin(), all.end(), [](const auto& item) { return !item.caption.empty(); }),
            "caption field '{}': no picture has a text there; the fields there are: {}", field,
            fields_text(catalogue_.fields));
  }

  void filter() {
    if (choice_.where.empty() || items().empty()) return;
    std::vector<std::size_t> places;
    FieldCounts known;
    std::vector<json> records;
    for (std::size_t i = 0; i < items().size(); ++i) {
      auto record = records_[i];
      const auto& item = items()[i];
      record["file_name"] = item.name;
      if (!item.label.empty()) record["label"] = item.label;
      if (item.split && !record.contains("split")) record["split"] = split_name(*item.split);
      count_fields(record, known);
      records.push_back(std::move(record));
    }
    for (const auto& field : fields_of(choice_.where))
      require(known.contains(field), "where: no picture has a field '{}'; the fields there are: {}", printable(field),
              fields_text(known));
    for (std::size_t i = 0; i < items().size(); ++i) {
      if (holds(choice_.where, records[i])) {
        places.push_back(i);
      } else {
        leave_out({items()[i].name, "left out by --where", true});
      }
    }
    require(!places.empty(), "where {}: holds for none of {} pictures", fmt::join(choice_.where, ", "), items().size());
    keep(places);
  }

  void say_captions() {
    const auto several =
        std::count_if(items().begin(), items().end(), [](const auto& item) { return !item.more_captions.empty(); });
    if (several > 0)
      catalogue_.notes.push_back(fmt::format(
          "{} pictures have several captions (a list, or lines of a text): one is drawn at each step", several));
  }

  const CatalogueInput& input_;
  const CatalogueChoice& choice_;
  const std::set<std::string_view> archives_;
  std::size_t held_ = 0;  // bytes of values and lines that the texts made
  JsonLimits limits_;
  Catalogue catalogue_;
  std::set<std::string> gone_;         // canonical names of what is left out
  std::vector<Text> tables_;           // metadata files
  std::map<std::string, Text> texts_;  // companions, by canonical name
  std::map<std::string, std::size_t> exact_, canonical_;
  std::multimap<std::string, std::size_t> aliases_;
  std::vector<json> records_;    // by item: what metadata and .json say
  std::vector<bool> described_;  // by item: a metadata line names it
  std::set<std::size_t> other_pictures_, class_files_;
  std::vector<std::vector<std::string>> written_;  // by item: the captions of its text file
  std::set<std::string> sample_keys_;
  std::vector<std::optional<std::size_t>> split_begin_;  // by item: where the folder that names its part begins
};

}  // namespace

Catalogue make_catalogue(const CatalogueInput& input) {
  return Joiner(input).join();
}

}  // namespace tessera
