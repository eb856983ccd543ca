#include "import/mingpt.h"

#include <map>

namespace tessera {

TensorSource mingpt_source(const std::string& prefix, const std::string& native, const Shape& shape) {
  if (native == "token_embedding.weight") return {{prefix + "tok_emb.weight"}, shape};
  if (native == "position_embedding") return {{prefix + "pos_emb"}, {1, shape[0], shape[1]}};
  if (native == "start_token") return {{prefix + "start_tok"}, {1, 1, shape[0]}};
  if (native == "head.weight") return {{prefix + "head.weight"}, shape};
  if (native.starts_with("final_norm.")) return {{prefix + "ln_f." + native.substr(11)}, shape};
  // blocks.N.<layer>.<weight or bias>
  const auto number_end = native.find('.', 7);
  const auto last = native.rfind('.');
  const auto block = prefix + native.substr(0, number_end + 1);
  const auto layer = native.substr(number_end + 1, last - number_end - 1);
  const auto field = native.substr(last);
  if (layer == "attention.qkv") {
    auto piece = shape;
    piece[0] /= 3;
    return {{block + "attn.query" + field, block + "attn.key" + field, block + "attn.value" + field}, piece};
  }
  static const std::map<std::string, std::string> names = {{"norm1", "ln1"},
                                                           {"norm2", "ln2"},
                                                           {"attention.output", "attn.proj"},
                                                           {"mlp.up", "mlp.0"},
                                                           {"mlp.down", "mlp.2"}};
  return {{block + names.at(layer) + field}, shape};
}

}  // namespace tessera
