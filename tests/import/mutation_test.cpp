// Thousands of mutated files of every format: each is read or refused with an Error, without a crash and without much
// memory.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <random>

#include "checkpoint/torch_archive.h"
#include "checkpoint/torch_writer.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {
namespace mutation_test {

using testing::bytes_of;
using testing::PickleWriter;

/// A file in memory: mutants need not touch the disk.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : descriptor_(::memfd_create("mutant", MFD_CLOEXEC)) {
    if (descriptor_ < 0 || ::write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      fail("no file in memory");
    }
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

std::string mutate(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](std::size_t bound) { return bound ? random() % bound : 0; };
  const auto times = 1 + below(4);
  for (std::size_t i = 0; i < times && !bytes.empty(); ++i) {
    const auto at = below(bytes.size());
    switch (below(8)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, 1 + below(16));
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(16)));
        break;
      case 5: {
        static const char* const kNumbers[] = {"\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\x7f",
                                               "\x01\x01\x01\x01"};
        const std::string number = kNumbers[below(3)];
        bytes.replace(at, std::min(number.size(), bytes.size() - at), number.substr(0, bytes.size() - at));
        break;
      }
      case 6:
        bytes.replace(at, 1, std::string(1 + below(8), "(.}]tseuRbQq2019N-"[below(18)]));
        break;
      case 7:
        std::swap(bytes[at], bytes[below(bytes.size())]);
        break;
    }
  }
  return bytes;
}

long resident_mebibytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

/// Reads what a mutant claims to hold, all the way to the elements. Returns true when it was read without an Error.
bool survives(const std::string& bytes, const std::function<TensorMap(const std::filesystem::path&)>& load) {
  const MemoryFile file(bytes);
  try {
    for (const auto& [name, tensor] : load(file.path())) {
      if (tensor.numel() > 0) tensor.ne(0).sum().item<std::int64_t>();
    }
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return false;
  }
}

void sweep(const std::string& good, int count, std::uint64_t seed,
           const std::function<TensorMap(const std::filesystem::path&)>& load) {
  ASSERT_TRUE(survives(good, load));
  std::mt19937_64 random(seed);
  const auto before = resident_mebibytes();
  int refused = 0;
  for (int i = 0; i < count; ++i) refused += !survives(mutate(good, random), load);
  EXPECT_GT(refused, count / 20);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(resident_mebibytes() - before, 64);
#else
  (void)before;
#endif
}

std::string nested_pickle(int protocol) {
  PickleWriter pickle(protocol);
  pickle.global("collections", "OrderedDict").op(')').op('R').raw(std::string("q\0", 2)).mark();
  pickle.text("a").tensor("FloatStorage", "0", 8, 2, {2, 3}, {3, 1}).raw("q\x01");
  pickle.text("b").tensor("LongStorage", "1", 2, 0, {2}, {1}).text("again").raw("h\x01");
  pickle.text("list")
      .op(']')
      .mark()
      .raw("K\x01")
      .op('\x88')
      .op('N')
      .raw(std::string("G\x3f\xf0\0\0\0\0\0\0", 9))
      .op('e');
  pickle.text("object").global("some", "Class").op(')').op('\x81').dict().op('b').op('u');
  return pickle.finish();
}

const std::vector<std::string>& storages() {
  static const std::vector<std::string> bytes = {bytes_of(std::vector<float>(8, 1.5f)),
                                                 bytes_of(std::vector<std::int64_t>{3, 4})};
  return bytes;
}

TensorMap load_archive(const std::filesystem::path& path) {
  return load_torch_archive(path).tensors();
}

TEST(Mutation, ZipArchivesAreReadOrRefused) {
  const auto good = testing::torch_zip(nested_pickle(2), {{"0", storages()[0]}, {"1", storages()[1]}});
  sweep(good, 4000, 1, load_archive);
  sweep(testing::torch_zip(nested_pickle(4), {{"0", storages()[0]}, {"1", storages()[1]}}, true), 2000, 2,
        load_archive);
}

TEST(Mutation, PicklesAreReadOrRefused) {
  // The pickle alone is mutated and packed again, so that every mutant reaches the pickle machine.
  const auto pickle = nested_pickle(2);
  std::mt19937_64 random(3);
  int read = 0;
  for (int i = 0; i < 6000; ++i) {
    read += survives(testing::torch_zip(mutate(pickle, random), {{"0", storages()[0]}, {"1", storages()[1]}}),
                     load_archive);
  }
  EXPECT_GT(read, 0);
  EXPECT_LT(read, 6000);
}

TEST(Mutation, StreamsAreReadOrRefused) {
  sweep(testing::torch_stream(nested_pickle(2), {{"0", 8, storages()[0]}, {"1", 2, storages()[1]}}), 4000, 4,
        load_archive);
}

TEST(Mutation, SafetensorsAreReadOrRefused) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  save_safetensors(path,
                   {{"a", torch::ones({2, 3})},
                    {"b.c", torch::arange(4)},
                    {"empty", torch::empty({0, 2})},
                    {"flag", torch::ones({3}, torch::kBool)}},
                   {{"format", "pt"}});
  sweep(testing::slurp(path), 6000, 5, [](const auto& file) { return load_safetensors(file); });
}

TEST(Mutation, PublishedCheckpointsAreImportedOrRefused) {
  // Mutants of the fixtures' pickles and directories, all the way through the importers.
  for (const auto* kind : {"unleashing-absorbing", "unleashing-vqgan", "taming-vqmodel"}) {
    for (const auto& fixture : testing::fixture_cases(kind)) {
      const auto good = testing::slurp(fixture.checkpoint());
      ImportOptions options;
      options.heads = 1;
      options.total_steps.reset();
      if (const auto shape = fixture.hyperparameters().value("latent_shape", nlohmann::json()); shape.is_array()) {
        options.grid = {shape[1].get<std::int64_t>(), shape[2].get<std::int64_t>()};
      }
      std::mt19937_64 random(6);
      for (int i = 0; i < 150; ++i) {
        // The storages are most of the file and say nothing: aim at the pickle at the front and the directory at the
        // end.
        auto mutant = good;
        const auto window = std::min<std::size_t>(good.size() / 2, 24'000);
        const auto at = i % 2 ? good.size() - window : 0;
        auto piece = mutate(good.substr(at, window), random);
        piece.resize(window);
        mutant.replace(at, window, piece);
        survives(mutant, [&](const auto& file) {
          const auto imported = import_checkpoint(file, options);
          return imported.codec ? imported.codec->tensors : imported.denoiser->tensors;
        });
      }
    }
  }
}

}  // namespace mutation_test
}  // namespace tessera
