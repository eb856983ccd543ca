/// The program as a terminal and scripts meet it: outputs and inputs, folders of results, help, completions, manual
/// pages, defaults, jobs of a service.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "cli/program.h"
#include "image/contact_sheet.h"
#include "runtime/atomic_file.h"
#include "support/random_lora.h"

namespace tessera::testing {
namespace terminal_test {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kModelFolder = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64";
const std::string kModel = fmt::format("-m '{}' -t 1 --steps 2", kModelFolder);

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Every verb, "train codec" for one below another, as the help lists them.
std::vector<std::string> verbs_below(const std::string& above = {}) {
  std::vector<std::string> verbs;
  bool listed = false;
  for (const auto& line : lines_of(run(above + " --help").output)) {
    if (line == "Subcommands:") listed = true;
    if (!listed || line.size() < 3 || !line.starts_with("  ") || line[2] == ' ') continue;
    verbs.push_back(above + (above.empty() ? "" : " ") + line.substr(2, line.find(' ', 2) - 2));
    for (const auto& below : verbs_below(verbs.back())) verbs.push_back(below);
  }
  return verbs;
}

class Terminal : public ProgramTest {
 protected:
  /// Standard output alone; standard error lies in "errors".
  std::string output_of(const std::string& command) const {
    const auto outcome = run_command(fmt::format("({}) 2>{}", command, at("errors")));
    EXPECT_EQ(outcome.status, 0) << command << "\n" << errors();
    return outcome.output;
  }
  std::string errors() const { return fs::exists(folder_ / "errors") ? read_file(folder_ / "errors") : std::string(); }
  std::string program() const { return fmt::format("'{}'", TESSERA_PROGRAM); }
};

TEST_F(Terminal, APictureGoesToAFileOfItsEndingOrToStandardOutput) {
  for (const auto& [name, begins] : {std::pair<std::string, std::string>{"a.png", "\x89PNG"},
                                     {"a.jpg", "\xff\xd8\xff"},
                                     {"b.JPEG", "\xff\xd8\xff"},
                                     {"a.webp", "RIFF"}}) {
    const auto made = run(fmt::format("generate {} -o {}", kModel, at(name)));
    ASSERT_EQ(made.status, 0) << made.output;
    EXPECT_TRUE(read_file(folder_ / name).starts_with(begins)) << name;
  }
  EXPECT_EQ(read_image(folder_ / "a.webp"), read_image(folder_ / "a.png")) << "lossless";

  const auto bytes = output_of(fmt::format("{} generate {} -o - | cat", program(), kModel));
  write_file_atomically(folder_ / "out.png", bytes);
  EXPECT_EQ(read_image(folder_ / "out.png"), read_image(folder_ / "a.png"));

  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate {} -o {}", kModel, at("a.bmp"))), 2, ".png, .jpg or .webp"));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate {} -o - --json", kModel)), 2, "--json"));
}

TEST_F(Terminal, OneVerbReadsWhatAnotherWrites) {
  const auto chain = fmt::format(
      "{0} generate {1} -o - | {0} inpaint {1} -i - --box 16,16,24,24 -o - | {0} outpaint {1} -i - --right 16 -o {2}",
      program(), kModel, at("wide.png"));
  output_of(chain);
  EXPECT_EQ(read_image(folder_ / "wide.png").width, 80);
  output_of(fmt::format("cat {} | {} reconstruct -m '{}' -t 1 -i - -o {}", at("wide.png"), program(), kModelFolder,
                        at("both.webp")));
  EXPECT_GT(read_image(folder_ / "both.webp").width, 160);
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("inpaint {} -i - --mask - -o {} </dev/null", kModel, at("x.png"))), 1,
                                "standard input"));
}

TEST_F(Terminal, AFolderOfResultsHoldsThoseOfOneRun) {
  const auto generate = [&](int count, const std::string& more) {
    const auto made = run(fmt::format("generate {} -n {} -o {} {}", kModel, count, at("out"), more));
    EXPECT_EQ(made.status, 0) << made.output;
    return made.output;
  };
  generate(3, "");
  write_file_atomically(folder_ / "out" / "notes.txt", "mine");
  write_png(folder_ / "out" / "00009.png", Image(8, 8, {1, 2, 3}));  // no record: somebody else's
  const auto first = read_file(folder_ / "out" / "00000.png");

  EXPECT_NE(generate(2, "--seed 9").find("4 pictures of an earlier run are in"), std::string::npos);
  EXPECT_EQ(names_in(folder_ / "out"),
            (std::set<std::string>{"00000.png", "00001.png", "00009.png", "notes.txt", "sheet.png"}));
  EXPECT_EQ(names_in(folder_ / "out.1"), (std::set<std::string>{"00000.png", "00001.png", "00002.png", "sheet.png"}));
  EXPECT_EQ(read_file(folder_ / "out.1" / "00000.png"), first);

  generate(1, "--earlier replace");
  EXPECT_EQ(names_in(folder_ / "out"), (std::set<std::string>{"00000.png", "00009.png", "notes.txt", "sheet.png"}));
  EXPECT_FALSE(fs::exists(folder_ / "out.2"));
  generate(2, "--earlier keep");
  EXPECT_FALSE(fs::exists(folder_ / "out.2"));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate {} -o {} --earlier away", kModel, at("out"))), 2,
                                "aside, replace or keep"));
}

TEST_F(Terminal, TheSheetOfAFolderIsNoPictureOfASet) {
  ASSERT_EQ(run(fmt::format("generate {} -n 3 -o {}", kModel, at("out"))).status, 0);
  EXPECT_TRUE(is_contact_sheet(read_file(folder_ / "out" / "sheet.png")));
  const auto info = run(fmt::format("dataset info --size 64 --json --data {}", at("out")));
  ASSERT_EQ(info.status, 0) << info.output;
  EXPECT_NE(info.output.find("\"images\":3"), std::string::npos) << info.output;
  EXPECT_NE(info.output.find("a contact sheet that this program made"), std::string::npos) << info.output;
}

TEST_F(Terminal, EveryVerbHasHelpOfEightyColumnsAndTheFlagsOfAll) {
  const auto verbs = verbs_below();
  ASSERT_GT(verbs.size(), 20U);
  for (const auto& verb : verbs) {
    const auto help = run(verb + " --help");
    EXPECT_EQ(help.status, 0) << verb;
    EXPECT_NE(help.output.find("-q,--quiet"), std::string::npos) << verb;
    if (verb != "dataset") {
      EXPECT_NE(help.output.find("--json"), std::string::npos) << verb;
    }
    for (const auto& line : lines_of(help.output)) EXPECT_LE(line.size(), 80U) << verb << ": " << line;
  }
  for (const auto& line : lines_of(run("--help").output)) EXPECT_LE(line.size(), 80U) << line;
}

TEST_F(Terminal, QuietSaysNothingButWhatWasAskedFor) {
  const auto output = output_of(fmt::format("{} generate {} -q -o {}", program(), kModel, at("a.png")));
  EXPECT_EQ(output, (folder_ / "a.png").string() + "\n");
  EXPECT_EQ(errors(), "");
  output_of(fmt::format("{} generate {} -o {}", program(), kModel, at("a.png")));
  EXPECT_NE(errors().find("generate 2/2"), std::string::npos) << errors();
  EXPECT_NE(errors().find("1 of 1 images"), std::string::npos) << errors();
}

TEST_F(Terminal, WhatWasMistypedIsGuessed) {
  EXPECT_TRUE(fails_in_one_line(run("genrate"), 2, "did you mean generate?"));
  EXPECT_TRUE(
      fails_in_one_line(run(fmt::format("generate {} --tempersture 1", kModel)), 2, "did you mean --temperature?"));
  EXPECT_TRUE(fails_in_one_line(run("dataset inf --data x"), 2, "did you mean info?"));
  EXPECT_EQ(run(fmt::format("generate {} --wxyz 1", kModel)).output.find("did you mean"), std::string::npos);
}

TEST_F(Terminal, DefaultsComeFromTheEnvironmentAndAFile) {
  const auto with = [&](const std::string& environment, const std::string& arguments) {
    return run_command(fmt::format("{} {} {}", environment, program(), arguments));
  };
  const auto model = fmt::format("TESSERA_MODEL='{}'", kModelFolder);
  EXPECT_EQ(with(model, fmt::format("generate -t 1 --steps 2 -o {}", at("a.png"))).status, 0);
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate -o {}", at("b.png"))), 2, "--model"));

  write_file_atomically(folder_ / "config.toml",
                        fmt::format("model = \"{}\"\nthreads = 1\nsteps = 7\n[generate]\nsteps = 2\nseed = 5\n"
                                    "[dataset.info]\nsize = 16\n",
                                    kModelFolder));
  const auto config = fmt::format("TESSERA_CONFIG={}", at("config.toml"));
  const auto options_of = [&](const std::string& name) {
    return json::parse(run("info --json " + at(name)).output)["options"];
  };
  ASSERT_EQ(with(config, fmt::format("generate -o {}", at("c.png"))).status, 0);
  EXPECT_EQ(options_of("c.png")["steps"], 2);
  EXPECT_EQ(options_of("c.png")["seed"], 5);
  ASSERT_EQ(with(config, fmt::format("generate --seed 6 -o {}", at("d.png"))).status, 0);
  EXPECT_EQ(options_of("d.png")["seed"], 6) << "what is typed goes first";
  ASSERT_EQ(run(fmt::format("--config {} outpaint -i {} --right 16 -o {}", at("config.toml"), at("d.png"), at("e.png")))
                .status,
            0);
  EXPECT_EQ(options_of("e.png")["steps"], 7);
  EXPECT_TRUE(fails_in_one_line(with(config + " XDG_CONFIG_HOME=/", "--config '' generate -o x"), 2, "--model"));
  make_pictures("pictures", 2);
  EXPECT_EQ(with(config, fmt::format("dataset info --data {}", at("pictures"))).status, 0);

  for (const auto& [text, says] : {std::pair<std::string, std::string>{"[generate]\nstep = 3\n", "did you mean steps?"},
                                   {"[genrate]\nsteps = 3\n", "did you mean generate?"},
                                   {"steps = {a = 1}\n", "no such verb"},
                                   {"steps = 1979-05-27\n", "expected a text, a number"},
                                   {"steps = \n", "config.toml"}}) {
    write_file_atomically(folder_ / "config.toml", text);
    EXPECT_TRUE(fails_in_one_line(with(config, fmt::format("generate {} -o {}", kModel, at("x.png"))), 2, says))
        << text;
  }
  EXPECT_TRUE(fails_in_one_line(with("TESSERA_CONFIG=/nowhere.toml", "generate"), 2, "no such file"));
}

TEST_F(Terminal, ShellsCompleteVerbsOptionsAndChoices) {
  ASSERT_EQ(run("completion bash").status, 0);
  const auto completed = [&](const std::string& words, int at) {
    const auto outcome =
        run_command(fmt::format("bash -c \"source <('{}' completion bash); COMP_WORDS=({}); COMP_CWORD={}; _tessera; "
                                "echo \\${{COMPREPLY[@]}}\"",
                                TESSERA_PROGRAM, words, at));
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return " " + outcome.output;
  };
  EXPECT_EQ(completed("tessera gen", 1), " generate\n");
  EXPECT_NE(completed("tessera ''", 1).find(" outpaint "), std::string::npos);
  EXPECT_EQ(completed("tessera generate --temp", 2), " --temperature\n");
  EXPECT_EQ(completed("tessera generate --order hal", 3), " halton\n");
  EXPECT_EQ(completed("tessera generate --model mod", 3), " \n") << "files are the shell's own";
  EXPECT_EQ(completed("tessera train cod", 2), " codec\n");
  EXPECT_EQ(completed("tessera train codec --codebook-s", 3), " --codebook-size\n");
  EXPECT_NE(completed("tessera --ver", 1).find("--version"), std::string::npos);

  for (const auto& shell : {"zsh", "fish"}) {
    const auto script = run(fmt::format("completion {}", shell));
    EXPECT_EQ(script.status, 0);
    for (const auto* word : {"generate", "temperature", "halton", "codebook-size"})
      EXPECT_NE(script.output.find(word), std::string::npos) << shell << ": " << word;
    if (run_command(fmt::format("command -v {}", shell)).status != 0) continue;
    write_file_atomically(folder_ / "script", script.output);
    const auto parsed = run_command(fmt::format("{} -n {}", shell, at("script")));
    EXPECT_EQ(parsed.status, 0) << shell << ": " << parsed.output;
  }
  EXPECT_TRUE(fails_in_one_line(run("completion tcsh"), 2, "bash, zsh or fish"));
}

TEST_F(Terminal, EveryVerbHasAManualPage) {
  ASSERT_EQ(run(fmt::format("man -o {}", at("man"))).status, 0);
  const auto pages = names_in(folder_ / "man");
  EXPECT_TRUE(pages.contains("tessera.1"));
  for (auto verb : verbs_below()) {
    std::replace(verb.begin(), verb.end(), ' ', '-');
    EXPECT_TRUE(pages.contains("tessera-" + verb + ".1")) << verb;
  }
  const auto page = read_file(folder_ / "man" / "tessera-generate.1");
  EXPECT_EQ(page, run("man generate").output);
  for (const auto* part : {".TH TESSERA\\-GENERATE 1", ".SH SYNOPSIS", "\\-\\-temperature", "TESSERA_MODEL"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  if (run_command("command -v groff").status != 0) return;
  for (const auto& name : pages) {
    const auto shown = run_command(fmt::format("groff -man -Tutf8 -ww -z '{}'", (folder_ / "man" / name).string()));
    EXPECT_EQ(shown.output, "") << name;
  }
}

#ifdef TESSERA_TEST_WITH_SERVER

/// `tessera serve` on a free port.
class Serving {
 public:
  explicit Serving(const fs::path& folder, const std::string& flags = {}) {
    const auto log = (folder / "serve.log").string(), url = (folder / "serve.url").string();
    pid_ = std::stoi(run_command(fmt::format("'{}' serve --json -m '{}' -t 1 --port 0 {} >'{}' 2>'{}' & echo $!",
                                             TESSERA_PROGRAM, kModelFolder, flags, url, log))
                         .output);
    for (int i = 0; i < 600 && url_.empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const auto said = json::parse(read_file(url), nullptr, false);
      if (said.is_object()) url_ = said["url"].get<std::string>();
    }
  }
  ~Serving() { ::kill(pid_, SIGTERM); }
  const std::string& url() const { return url_; }

 private:
  int pid_ = 0;
  std::string url_;
};

TEST_F(Terminal, AServiceDoesWhatTheVerbsDo) {
  const Serving service(folder_);
  ASSERT_FALSE(service.url().empty()) << read_file(folder_ / "serve.log");
  write_png(folder_ / "a.png", Image(64, 64, {200, 180, 40}));
  Image mask(64, 64, {0, 0, 0});
  for (int y = 16; y < 48; ++y) {
    for (int x = 16; x < 48; ++x) std::fill_n(mask.at(x, y), 3, std::uint8_t{255});
  }
  write_png(folder_ / "mask.png", mask);
  write_file_atomically(
      folder_ / "layout.json",
      R"({"width": 96, "height": 64, "pieces": [{"image": "a.png", "from": [0, 0, 32, 64], "to": [0, 0]}]})");
  const std::pair<std::string, std::string> jobs[] = {
      {"generate", "--seed 3 --temperature 0.8"},
      {"inpaint", fmt::format("-i {} --box 16,16,16,16 --box 40,40,8,8 --feather 2", at("a.png"))},
      {"inpaint", fmt::format("-i {} --keep-mask {}", at("a.png"), at("mask.png"))},
      {"outpaint", fmt::format("-i {} --left 16 --sampler ancestral", at("a.png"))},
      {"variations", fmt::format("-i {} --strength 0.3 --least-likely -n 1", at("a.png"))},
      {"stitch", fmt::format("--piece '{}@0,0,32,64->16,0'", (folder_ / "a.png").string())},
      {"stitch", fmt::format("--layout {}", at("layout.json"))},
  };
  int number = 0;
  for (const auto& [verb, flags] : jobs) {
    const auto here = fmt::format("{}-here.png", number), there = fmt::format("{}-there.png", number);
    ++number;
    const auto made = run(fmt::format("{} {} {} -o {}", verb, kModel, flags, at(here)));
    ASSERT_EQ(made.status, 0) << made.output;
    const auto asked = run(fmt::format("{} --steps 2 {} --server {} -o {}", verb, flags, service.url(), at(there)));
    ASSERT_EQ(asked.status, 0) << asked.output;
    EXPECT_EQ(read_image(folder_ / here), read_image(folder_ / there)) << verb << " " << flags;
  }
  const auto several = run(fmt::format("generate --steps 2 -n 3 --server {} -o {}", service.url(), at("out")));
  ASSERT_EQ(several.status, 0) << several.output;
  EXPECT_EQ(names_in(folder_ / "out"), (std::set<std::string>{"00000.png", "00001.png", "00002.png", "sheet.png"}));
  EXPECT_EQ(run(fmt::format("reconstruct -i {} --server {} -o {}", at("a.png"), service.url(), at("r.jpg"))).status, 0);

  EXPECT_TRUE(fails_in_one_line(
      run(fmt::format("generate --frames {} --server {} -o {}", at("f"), service.url(), at("x.png"))), 2, "--frames"));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate -m other --server {} -o {}", service.url(), at("x.png"))), 1,
                                "other"));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate --server http://127.0.0.1:1 -o {}", at("x.png"))), 1,
                                "cannot be reached"));
  EXPECT_TRUE(fails_in_one_line(run(fmt::format("generate --server nowhere -o {}", at("x.png"))), 2, "http://HOST"));
}

TEST_F(Terminal, AServiceAppliesItsOwnLoras) {
  const auto loras = folder_ / "loras";
  fs::create_directory(loras);
  testing::write_random_lora(kModelFolder, loras / "noise.safetensors");
  const Serving service(folder_, fmt::format("--loras '{}'", loras.string()));
  ASSERT_FALSE(service.url().empty()) << read_file(folder_ / "serve.log");
  const auto asked = [&](const std::string& lora, const std::string& name) {
    return run(fmt::format("generate --steps 2 --seed 3 {} --server {} -o {}", lora, service.url(), at(name)));
  };
  const auto here = run(fmt::format("generate {} --seed 3 --lora '{}:0.7' -o {}", kModel,
                                    (loras / "noise.safetensors").string(), at("here.png")));
  ASSERT_EQ(here.status, 0) << here.output;
  for (const auto* lora : {"--lora noise:0.7", "--lora elsewhere/noise.safetensors:0.7"}) {
    const auto there = asked(lora, "there.png");
    ASSERT_EQ(there.status, 0) << there.output;
    EXPECT_EQ(read_image(folder_ / "here.png"), read_image(folder_ / "there.png")) << lora;
  }
  ASSERT_EQ(asked("", "without.png").status, 0);
  EXPECT_FALSE(read_image(folder_ / "here.png") == read_image(folder_ / "without.png"));
  EXPECT_TRUE(fails_in_one_line(asked("--lora chalk", "x.png"), 1, "'chalk' is not served, expected one of noise"));
}

TEST_F(Terminal, AJobOfAFileIsDoneHereOrByAService) {
  write_png(folder_ / "a.png", Image(64, 64, {200, 180, 40}));
  write_file_atomically(folder_ / "job.json",
                        R"({"verb": "inpaint", "image": "a.png", "boxes": [[16, 16, 24, 24]], "seed": 4, "steps": 2})");
  const auto here = run(fmt::format("run {} -m '{}' -t 1 -o {}", at("job.json"), kModelFolder, at("here.png")));
  ASSERT_EQ(here.status, 0) << here.output;
  const auto verb =
      run(fmt::format("inpaint {} -i {} --box 16,16,24,24 --seed 4 -o {}", kModel, at("a.png"), at("v.png")));
  ASSERT_EQ(verb.status, 0) << verb.output;
  EXPECT_EQ(read_image(folder_ / "here.png"), read_image(folder_ / "v.png"));
  const auto report = json::parse(output_of(
      fmt::format("{} run {} -m '{}' -t 1 --json -o {}", program(), at("job.json"), kModelFolder, at("made"))));
  EXPECT_EQ(report["state"], "done");
  EXPECT_EQ(report["files"].size(), 1U);

  const Serving service(folder_);
  ASSERT_FALSE(service.url().empty());
  const auto there = run(fmt::format("run - --server {} -o {} <{}", service.url(), at("there.png"), at("job.json")));
  EXPECT_TRUE(fails_in_one_line(there, 1, "image")) << "standard input lies in no folder";
  const auto asked = run(fmt::format("run {} --server {} -o {}", at("job.json"), service.url(), at("there.png")));
  ASSERT_EQ(asked.status, 0) << asked.output;
  EXPECT_EQ(read_image(folder_ / "there.png"), read_image(folder_ / "v.png"));

  for (const auto& [text, says] : {std::pair<std::string, std::string>{"[1]", "not a JSON object"},
                                   {R"({"verb": "paint"})", "verb"},
                                   {R"({"verb": "generate", "steps": -1})", "steps"},
                                   {R"({"verb": "generate", "stepz": 1})", "stepz"},
                                   {R"({"verb": "inpaint"})", "image"}}) {
    write_file_atomically(folder_ / "bad.json", text);
    EXPECT_TRUE(fails_in_one_line(
        run(fmt::format("run {} {} -o {}", at("bad.json"), fmt::format("-m '{}'", kModelFolder), at("x.png"))), 1,
        says))
        << text;
  }
}

#endif

}  // namespace terminal_test
}  // namespace tessera::testing
