/// What one verb writes every other verb reads that takes such a thing: pictures, folders of them, tokens, packs,
/// bundles.
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "cli/program.h"

namespace tessera::testing {
namespace verb_matrix_test {

namespace fs = std::filesystem;

class VerbMatrix : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) return;
    make_pictures("pictures", 12);
    make("train codec --data {pictures} -o {model} --steps 3 " + tiny_codec());
    make("train prior --data {pictures} -m {model} --steps 3 " + tiny_prior());
  }

  /// "{name}" stands for the file or folder of this name.
  std::string filled(std::string command) const {
    for (auto begin = command.find('{'); begin != std::string::npos; begin = command.find('{', begin)) {
      const auto end = command.find('}', begin);
      command.replace(begin, end - begin + 1, at(command.substr(begin + 1, end - begin - 1)));
    }
    return command;
  }
  void make(const std::string& command) const {
    const auto outcome = run(filled(command));
    EXPECT_EQ(outcome.status, 0) << command << "\n" << outcome.output;
    EXPECT_EQ(outcome.output.find("internal error"), std::string::npos) << command << "\n" << outcome.output;
  }
  /// Each command once with each of the things in place of "%".
  void read_each(const std::vector<std::string>& things, const std::vector<std::string>& commands) const {
    for (const auto& thing : things) {
      for (auto command : commands) {
        command.replace(command.find('%'), 1, "{" + thing + "}");
        make(command);
      }
    }
  }
};

constexpr const char* kFill = "-m {model} -t 1 --steps 2";

TEST_F(VerbMatrix, PicturesOfEveryVerbAreReadByEveryVerb) {
  make(fmt::format("generate {} -o {{a.png}}", kFill));
  make(fmt::format("inpaint {} -i {{a.png}} --box 4,4,8,8 -o {{b.webp}}", kFill));
  make(fmt::format("outpaint {} -i {{b.webp}} --right 8 -o {{c.jpg}}", kFill));
  make(fmt::format("stitch {} --piece '{}@0,0,8,8->8,8' -o {{d.png}}", kFill, (folder_ / "c.jpg").string()));
  make("reconstruct -m {model} -t 1 -i {d.png} -o {e.png}");
  make(fmt::format("variations {} -i {{e.png}} -n 1 -o {{f.png}}", kFill));
  read_each({"b.webp", "c.jpg", "f.png"},
            {fmt::format("inpaint {} --box 0,0,8,8 -o {{x.png}} -i %", kFill),
             fmt::format("outpaint {} --top 8 -o {{x.png}} -i %", kFill),
             fmt::format("variations {} -n 1 -o {{x.png}} -i %", kFill),
             fmt::format("stitch {} --seam 4 --piece '{}@0,0,8,8->0,0' -o {{x.png}} --onto %", kFill,
                         (folder_ / "a.png").string()),
             "reconstruct -m {model} -t 1 -o {x.png} -i %", "encode -m {model} -t 1 -o {x.safetensors} -i %"});
  read_each({"a.png", "d.png", "e.png", "f.png"}, {"info %"});
}

TEST_F(VerbMatrix, FoldersOfEveryVerbAreDataSetsOfEveryVerb) {
  make(fmt::format("generate {} -n 7 -o {{g}}", kFill));
  make(fmt::format("inpaint {} -i {{pictures/000.png}} --box 4,4,8,8 -n 7 --show-mask -o {{i}}", kFill));
  make(fmt::format("variations {} -i {{pictures/001.png}} -n 7 -o {{v}}", kFill));
  make("encode -m {model} -t 1 --data {g} --split all -o {g.safetensors}");
  make("decode -m {model} -t 1 --tokens {g.safetensors} -o {d}");
  make("dataset pack --data {v} --size 16 -o {v.tessera-pack}");
  read_each({"g", "i", "d", "v.tessera-pack"}, {"dataset info --size 16 --data %", "compare -t 1 {pictures} %",
                                                "reconstruct -m {model} -t 1 --split all -o {x.png} --data %",
                                                "encode -m {model} -t 1 --split all -o {x.safetensors} --data %"});
  read_each({"i"}, {"evaluate -m {model} -t 1 --split all --real all -n 7 --steps 2 --metrics "
                    "likelihood,reconstruction,distribution "
                    "-o {report} --data %"});
  read_each({"d"}, {"train codec --steps 2 -o {other} " + tiny_codec() + " --data %"});
  make("convert -m {model} -o {again}");
  make("train prior --steps 2 --data {g.safetensors} -m {again} " + tiny_prior());
}

TEST_F(VerbMatrix, ModelsOfEveryVerbAreReadByEveryVerb) {
  make("convert -m {model} -o {half}");
  make("train pixels --data {pictures} -m {model} -o {pixels} --steps 2 -t 1");
  read_each({"half", "pixels", "model"},
            {"info %", "verify %", "convert -o {x} -m %", "encode -t 1 -i {pictures/000.png} -o {x.safetensors} -m %"});
  read_each({"half", "model"}, {"generate -t 1 --steps 2 -o {x.png} -m %"});
  make("compare {half} {model} --data {pictures} --split all -t 1 -n 4 --steps 2 --metrics reconstruction -o {report}");
  make(
      "train codec --data {pictures} -o {onward} --start-from {half} --steps 2 --batch-size 4 --no-adversarial "
      "--threads 1");
}

/// A decoder that learns on leaves every picture its codes, so that a prior of them may stay.
TEST_F(VerbMatrix, ADecoderIsTrainedOnUnderThePriorThatIsThere) {
  make("convert -m {model} -o {onward}");
  make(
      "train codec --data {pictures} -o {onward} --start-from {model} --decoder-only --steps 3 --batch-size 4 "
      "--no-adversarial --threads 1");
  for (const char* model : {"model", "onward"})
    make(fmt::format("encode -t 1 --data {{pictures}} --split all -m {{{0}}} -o {{{0}.safetensors}}", model));
  const auto before = load_safetensors(folder_ / "model.safetensors"),
             after = load_safetensors(folder_ / "onward.safetensors");
  EXPECT_TRUE(torch::equal(before.at("tokens"), after.at("tokens")));
  const auto was = load_safetensors(folder_ / "model/vqvae/diffusion_pytorch_model.safetensors"),
             is = load_safetensors(folder_ / "onward/vqvae/diffusion_pytorch_model.safetensors");
  for (const auto& [name, tensor] : was)
    EXPECT_EQ(torch::equal(tensor, is.at(name)), !name.starts_with("decoder.")) << name;
  make("generate -t 1 --steps 2 -o {x.png} -m {onward}");
  const auto without = run(filled("train codec --data {pictures} -o {other} --decoder-only --steps 2"));
  EXPECT_TRUE(fails_in_one_line(without, 1, "decoder_only needs start_from")) << without.output;
}

}  // namespace verb_matrix_test
}  // namespace tessera::testing
