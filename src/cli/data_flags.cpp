#include "cli/data_flags.h"

#include "cli/verbs.h"
#include "runtime/error.h"

namespace tessera::cli {

void add_choice_flags(CLI::App& verb, CatalogueChoice& choice, const std::string& group) {
  std::vector<CLI::Option*> options = {
      verb.add_option("--caption-field", choice.caption_field,
                      "Field of the metadata that is the caption, or the ending of a text beside the picture "
                      "(default: text, caption, .txt, .caption)"),
      verb.add_flag("--whole-captions", choice.whole_captions,
                    "A text file is one caption; otherwise each of its lines is one, drawn by step"),
      verb.add_option("--split-field", choice.split_field,
                      "Field that says train, validation or test (default: split, then folders of these names)"),
      verb.add_option("--image-field", choice.image_field,
                      "Which picture of a sample of several: an ending or name, as jpg or mask.png"),
      verb.add_option("--where", choice.where,
                      "Only pictures for which it holds: field=value or field!=value; may be given several times")
          ->expected(1)
          ->take_all()
          ->check([](const std::string& text) -> std::string {
            CatalogueChoice one;
            one.where = {text};
            try {
              one.validate();
            } catch (const Error& error) {
              return error.what();
            }
            return {};
          })};
  for (auto* option : options) {
    if (!group.empty()) option->group(group);
  }
}

}  // namespace tessera::cli
