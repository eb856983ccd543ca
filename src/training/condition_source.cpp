#include "training/condition_source.h"

#include "runtime/error.h"
#include "runtime/random.h"
#include "text/learn_merges.h"

namespace tessera {
namespace {

constexpr std::uint32_t kDropCell = 0, kCaptionCell = 1, kKeywordCell = 2, kFirstWordCell = 3;  // of a row's stream

RandomStream stream_of(const PriorRecipe& recipe, std::int64_t row, std::int64_t step) {
  return {static_cast<Seed>(recipe.seed), Purpose::dropout, static_cast<std::uint64_t>(row) + 1,
          static_cast<std::uint32_t>(step)};
}

}  // namespace

ToldRows ToldRows::slice(std::int64_t first, std::int64_t last) const {
  const auto part = [&](const torch::Tensor& all) { return all.defined() ? all.slice(0, first, last) : all; };
  return {part(ids), part(labels), part(dropped)};
}

ToldRows ToldRows::repeated(std::int64_t count) const {
  const auto repeat = [&](const torch::Tensor& all) {
    return all.defined() ? all.index_select(0, torch::zeros({count}, torch::kInt64)) : all;
  };
  return {repeat(ids), repeat(labels), repeat(dropped)};
}

ToldRows ToldRows::rotated() const {
  const auto turn = [](const torch::Tensor& all) { return all.defined() ? all.roll(-1, 0) : all; };
  return {turn(ids), turn(labels), turn(dropped)};
}

ConditionSource::ConditionSource(const PriorRecipe& recipe, const TokenData& data,
                                 std::optional<ClipTokenizer> tokenizer)
    : recipe_(recipe) {
  const auto& told = data.conditions;
  if (recipe.has_text()) {
    require(!told.train_captions.empty(), "condition text: the pictures have no captions (metadata.jsonl)");
    originals_ = static_cast<std::int64_t>(told.train_captions.size());
    auto captions = told.train_captions;
    for (const auto& more : told.more_train_captions) {
      first_more_.push_back(static_cast<std::int64_t>(captions.size()));
      captions.insert(captions.end(), more.begin(), more.end());
    }
    first_more_.push_back(static_cast<std::int64_t>(captions.size()));
    tokenizer_ = tokenizer ? std::move(tokenizer) : learn_tokenizer(captions, recipe.text_merges);
    train_ids_ = ids_of(captions);
    if (recipe.keyword_rate > 0) {
      keywords_ = told.train_keywords;
      require(keywords_.size() == told.train_captions.size(), "keyword_rate {}: the grids have no keywords",
              recipe.keyword_rate);
    }
    validation_ids_ = ids_of(told.validation_captions);
  }
  if (recipe.has_classes()) {
    require(told.classes > 0, "condition class: the pictures have no labels (folders or metadata.jsonl)");
    originals_ = static_cast<std::int64_t>(told.train_labels.size());
    train_labels_ = torch::tensor(told.train_labels);
    validation_labels_ = torch::tensor(told.validation_labels);
  }
}

torch::Tensor ConditionSource::ids_of(const std::vector<std::string>& captions) const {
  auto ids = torch::empty({static_cast<std::int64_t>(captions.size()), recipe_.text_length}, torch::kInt64);
  for (std::size_t i = 0; i < captions.size(); ++i) {
    ids[static_cast<std::int64_t>(i)] = torch::tensor(tokenizer_->encode_padded(captions[i], recipe_.text_length).ids);
  }
  return ids;
}

/// The caption of each row at a step, as a place in train_ids_.
torch::Tensor ConditionSource::drawn_captions(const torch::Tensor& rows, std::int64_t step) const {
  if (first_more_.size() < 2) return rows;
  auto drawn = rows.clone();
  for (std::int64_t row = 0; row < rows.size(0); ++row) {
    const auto grid = static_cast<std::size_t>(rows[row].item<std::int64_t>());
    const auto more = first_more_[grid + 1] - first_more_[grid];
    if (more == 0) continue;
    const auto draw = static_cast<std::int64_t>(
        stream_of(recipe_, row, step).below(kCaptionCell, static_cast<std::uint64_t>(more) + 1));
    if (draw > 0) drawn[row] = first_more_[grid] + draw - 1;
  }
  return drawn;
}

/// Some rows get a random choice of their keywords: how many is uniform from 1 to all, their order is random.
void ConditionSource::draw_keywords(torch::Tensor& ids, const torch::Tensor& rows, std::int64_t step) const {
  for (std::int64_t row = 0; row < rows.size(0); ++row) {
    auto words = keywords_[static_cast<std::size_t>(rows[row].item<std::int64_t>())];
    const auto stream = stream_of(recipe_, row, step);
    if (words.empty() || stream.uniform(kKeywordCell) >= recipe_.keyword_rate) continue;
    const auto chosen = 1 + stream.below(kFirstWordCell, words.size());
    std::string text;
    for (std::size_t i = 0; i < chosen; ++i) {  // Fisher and Yates's shuffle, as far as it is needed
      const auto cell = kFirstWordCell + 1 + static_cast<std::uint32_t>(i);
      std::swap(words[i], words[i + stream.below(cell, words.size() - i)]);
      text += (i == 0 ? "" : ", ") + words[i];
    }
    ids[row] = torch::tensor(tokenizer_->encode_padded(text, recipe_.text_length).ids);
  }
}

ToldRows ConditionSource::at_step(const torch::Tensor& rows, std::int64_t step) const {
  ToldRows told;
  if (originals_ == 0) return told;
  const auto of = rows % originals_;
  const bool whole = step < recipe_.whole_mask_steps;  // all of it is told
  told.dropped = torch::zeros({rows.size(0)}, torch::kBool);
  for (std::int64_t row = 0; row < rows.size(0); ++row) {
    told.dropped.data_ptr<bool>()[row] = stream_of(recipe_, row, step).uniform(kDropCell) < recipe_.null_rate && !whole;
  }
  if (recipe_.has_text()) {
    told.ids = train_ids_.index_select(0, drawn_captions(of, step));
    if (!keywords_.empty() && !whole) draw_keywords(told.ids, of, step);
  }
  if (recipe_.has_classes()) told.labels = train_labels_.index_select(0, of);
  return told;
}

ToldRows ConditionSource::as_given(const torch::Tensor& rows, bool validation) const {
  ToldRows told;
  if (originals_ == 0) return told;
  const auto of = validation ? rows : rows % originals_;
  told.dropped = torch::zeros({rows.size(0)}, torch::kBool);
  if (recipe_.has_text()) told.ids = (validation ? validation_ids_ : train_ids_).index_select(0, of);
  if (recipe_.has_classes()) told.labels = (validation ? validation_labels_ : train_labels_).index_select(0, of);
  return told;
}

}  // namespace tessera
