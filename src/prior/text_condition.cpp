#include "prior/text_condition.h"

#include <map>
#include <mutex>

#include "runtime/error.h"
#include "runtime/heap.h"
#include "runtime/log.h"
#include "runtime/mapped_file.h"

namespace tessera {
namespace {

constexpr std::size_t kMostKnown = 256;  // prompts: 77 x 512 numbers each

}  // namespace

struct TextCondition::Known {
  std::mutex mutex;
  std::map<std::string, EncodedText> texts;
};

TextCondition::TextCondition(ClipTokenizer tokenizer, ClipTextEncoder encoder, torch::Tensor null_embedding)
    : tokenizer_(std::move(tokenizer)),
      options_(encoder->options()),
      encoder_(std::move(encoder)),
      null_embedding_(std::move(null_embedding)),
      known_(std::make_shared<Known>()) {}

TextCondition::TextCondition(ClipTokenizer tokenizer)
    : tokenizer_(std::move(tokenizer)), known_(std::make_shared<Known>()) {}

TextCondition TextCondition::of_words(ClipTokenizer tokenizer, std::int64_t length, std::int64_t vocabulary,
                                      const std::string& where) {
  require(tokenizer.vocabulary_size() == vocabulary, "{}: the tokenizer has a vocabulary of {}, expected {}", where,
          tokenizer.vocabulary_size(), vocabulary);
  TextCondition condition(std::move(tokenizer));
  condition.options_.width = 1;
  condition.options_.length = length;
  condition.options_.vocabulary = vocabulary;
  condition.null_embedding_ = torch::full({length, 1}, static_cast<double>(vocabulary), torch::kFloat32);
  return condition;
}

EncodedText TextCondition::words_of(const std::string& prompt) const {
  const std::string open = "...";
  const bool is_open = prompt.ends_with(open);
  const auto text = is_open ? prompt.substr(0, prompt.size() - open.size()) : prompt;
  const auto found = tokenizer_.encode_padded(text, options_.length);
  if (found.full_length > options_.length)
    log().warn("the prompt is {} tokens long, the model reads {}: its end is left out", found.full_length,
               options_.length);
  auto states = torch::tensor(found.ids).to(torch::kFloat32).unsqueeze(1);
  const auto known = found.full_length - 1;  // without the end
  if (is_open && known < options_.length) states.slice(0, known).copy_(null_embedding_.slice(0, known));
  return {states, {}};
}

TextCondition TextCondition::load(const Bundle& parts, const std::string& where, std::int64_t most_kept) {
  require(parts.text_encoder.has_value(), "{}: the denoiser takes text, but the bundle holds no text_encoder/", where);
  auto tokenizer = ClipTokenizer::load(parts.tokenizer);
  Source source{*parts.text_encoder, where + "/text_encoder"};
  std::int64_t weights = 0;
  for (const auto& [name, tensor] : source.part.tensors) weights += tensor.numel();
  const bool is_kept = weights <= most_kept;
  auto encoder = source.encoder(!is_kept);
  const auto options = encoder->options();
  require(tokenizer.vocabulary_size() == options.vocabulary,
          "{}: the tokenizer has a vocabulary of {}, expected {} as the text encoder has", where,
          tokenizer.vocabulary_size(), options.vocabulary);
  if (options.projection > 0) {
    // The one vector is read at the end token, which a text that is cut keeps.
    auto own = tokenizer.options();
    own.keep_end = true;
    tokenizer.set_options(own);
  }
  torch::Tensor null_embedding;
  if (parts.null_condition && !parts.null_condition->tensors.empty()) {
    const auto found = parts.null_condition->tensors.find("embeddings");
    require(found != parts.null_condition->tensors.end(),
            "{}: learned_classifier_free_sampling_embeddings holds no tensor 'embeddings'", where);
    null_embedding = found->second.to(torch::kFloat32);
    require(null_embedding.dim() == 2 && null_embedding.size(0) == options.length &&
                null_embedding.size(1) == options.width,
            "{}: the learned embedding is {}, expected [{}, {}]", where, shape_text(null_embedding), options.length,
            options.width);
  }
  TextCondition condition(std::move(tokenizer), std::move(encoder), std::move(null_embedding));
  if (!is_kept) condition.source_ = std::move(source);
  return condition;
}

ClipTextEncoder TextCondition::Source::encoder(bool in_passing) const {
  auto made = load_text_encoder(part.config, part.tensors, where, in_passing);
  made->eval();
  return made;
}

ClipTextEncoder& TextCondition::made() {
  if (!encoder_) {
    encoder_ = source_->encoder(device_.is_cpu());
    encoder_->to(device_);
  }
  return encoder_;
}

ClipTextEncoder& TextCondition::encoder() {
  require(!is_of_words(), "text: the model reads words, expected one with a text encoder");
  const std::lock_guard lock(known_->mutex);
  if (source_) {
    encoder_ = source_->encoder(false);
    encoder_->to(device_);
    source_.reset();
  }
  return encoder_;
}

void TextCondition::to(torch::Device device) {
  const std::lock_guard lock(known_->mutex);
  const bool stays = device == device_;
  device_ = device;
  if (is_of_words()) return;
  if (!source_) {
    encoder_->to(device);
  } else if (!stays) {
    encoder_ = nullptr;  // it is made where it computes
  }
}

EncodedText TextCondition::encoded(const std::string& prompt) {
  const std::lock_guard lock(known_->mutex);
  if (is_of_words()) return words_of(prompt);
  const auto known = known_->texts.find(prompt);
  if (known != known_->texts.end()) return known->second;
  const torch::NoGradGuard no_grad;
  const auto length = options_.length;
  const auto text = tokenizer_.encode_padded(prompt, length);
  if (text.full_length > length) {
    log().warn("the prompt is {} tokens long, the model reads {}: its end is left out", text.full_length, length);
  }
  const auto ids = torch::tensor(text.ids).unsqueeze(0);
  EncodedText encoded;
  auto& encoder = made();
  if (options_.projection > 0) {
    std::vector<torch::Tensor> layers;
    const auto last = encoder->forward(ids, &layers);
    encoded = {layers[layers.size() - 2][0].clone(), encoder->pooled(ids, last)[0].clone()};
  } else {
    encoded.states = unit_positions(encoder->forward(ids))[0];
  }
  // The empty prompt, which every bundle is loaded with, is followed by the one that is asked for.
  if (source_ && !prompt.empty()) {
    encoder_ = nullptr;
    give_back_free_memory();
    for (const auto& [name, tensor] : source_->part.tensors) MappedFile::give_back(tensor.data_ptr(), tensor.nbytes());
  }
  if (known_->texts.size() >= kMostKnown) known_->texts.clear();
  known_->texts[prompt] = encoded;
  return encoded;
}

EncodedText TextCondition::null_text() {
  return null_embedding_.defined() ? EncodedText{null_embedding_, {}} : encoded("");
}

}  // namespace tessera
