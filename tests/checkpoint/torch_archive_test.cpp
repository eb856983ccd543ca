// Good torch archives of both formats, made by hand where torch.save would not write them so small.
#include "checkpoint/torch_archive.h"

#include <gtest/gtest.h>

#include "support/fixtures.h"
#include "torch_writer.h"

namespace tessera {
namespace torch_archive_test {

using testing::bytes_of;
using testing::fails_with;
using testing::PickleWriter;
using testing::TemporaryFolder;

std::vector<float> rising(int count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  return values;
}

/// A dict of tensors over one storage of 24 floats 0, 1, 2, ...
std::string views_pickle() {
  PickleWriter pickle;
  pickle.global("collections", "OrderedDict").op(')').op('R').mark();
  pickle.text("whole").tensor("FloatStorage", "7", 24, 0, {2, 3, 4}, {12, 4, 1});
  pickle.text("transposed").tensor("FloatStorage", "7", 24, 0, {4, 6}, {1, 4});
  pickle.text("offset").tensor("FloatStorage", "7", 24, 20, {2, 2}, {2, 1});
  pickle.text("strided").tensor("FloatStorage", "7", 24, 1, {3}, {8});
  pickle.text("scalar").tensor("FloatStorage", "7", 24, 5, {}, {});
  pickle.text("empty").tensor("FloatStorage", "7", 24, 0, {0, 3}, {3, 1});
  pickle.op('u');
  pickle.dict().mark().text("_metadata").dict().op('u').op('b');  // an OrderedDict's attribute
  return pickle.finish();
}

void expect_views(const TensorMap& tensors) {
  const auto whole = torch::arange(24, torch::kFloat32);
  ASSERT_EQ(tensors.size(), 6u);
  EXPECT_TRUE(tensors.at("whole").equal(whole.view({2, 3, 4})));
  EXPECT_TRUE(tensors.at("transposed").equal(whole.view({6, 4}).t()));
  EXPECT_TRUE(tensors.at("offset").equal(whole.slice(0, 20).view({2, 2})));
  EXPECT_TRUE(tensors.at("strided").equal(torch::tensor({1.f, 9.f, 17.f})));
  EXPECT_EQ(tensors.at("scalar").item<float>(), 5.f);
  EXPECT_EQ(tensors.at("scalar").dim(), 0);
  EXPECT_EQ(tensors.at("empty").numel(), 0);
}

TEST(TorchArchive, HonoursOffsetsStridesAndSharedStorages) {
  const TemporaryFolder folder;
  for (const bool zip64 : {false, true}) {
    const auto path =
        folder.write("views.pt", testing::torch_zip(views_pickle(), {{"7", bytes_of(rising(24))}}, zip64));
    const auto archive = load_torch_archive(path);
    EXPECT_STREQ(archive.format(), "torch zip archive");
    expect_views(archive.tensors());
  }
}

TEST(TorchArchive, ReadsTheOlderStream) {
  const TemporaryFolder folder;
  const auto path = folder.write("views.pth", testing::torch_stream(views_pickle(), {{"7", 24, bytes_of(rising(24))}}));
  const auto archive = load_torch_archive(path);
  EXPECT_STREQ(archive.format(), "torch stream");
  expect_views(archive.tensors());
}

TEST(TorchArchive, ReadsAStreamsViewsOfStorages) {
  PickleWriter pickle;
  pickle.dict().mark().text("view").global("torch._utils", "_rebuild_tensor").mark();
  pickle.mark().text("storage").global("torch", "FloatStorage").text("root").text("cpu").integer(10);
  pickle.mark().text("part").integer(4).integer(3).tuple().tuple().op('Q');
  pickle.integer(1).integers({2}).integers({1}).tuple().op('R').op('u');
  const TemporaryFolder folder;
  const auto path =
      folder.write("view.pth", testing::torch_stream(pickle.finish(), {{"root", 10, bytes_of(rising(10))}}));
  EXPECT_TRUE(load_torch_archive(path).tensors().at("view").equal(torch::tensor({5.f, 6.f})));
}

TEST(TorchArchive, ReadsEveryStorageType) {
  const std::pair<const char*, torch::ScalarType> types[] = {
      {"FloatStorage", torch::kFloat32},     {"DoubleStorage", torch::kFloat64}, {"HalfStorage", torch::kFloat16},
      {"BFloat16Storage", torch::kBFloat16}, {"LongStorage", torch::kInt64},     {"IntStorage", torch::kInt32},
      {"ShortStorage", torch::kInt16},       {"CharStorage", torch::kInt8},      {"ByteStorage", torch::kUInt8},
      {"BoolStorage", torch::kBool}};
  const TemporaryFolder folder;
  for (const auto& [name, type] : types) {
    const auto want = torch::tensor({1, 0, 1, 1}).to(type);
    const std::string bytes(static_cast<const char*>(want.data_ptr()), want.nbytes());
    const auto pickle = PickleWriter().dict().mark().text("x").tensor(name, "0", 4, 0, {2, 2}, {2, 1}).op('u').finish();
    for (const auto& archive :
         {testing::torch_zip(pickle, {{"0", bytes}}), testing::torch_stream(pickle, {{"0", 4, bytes}})}) {
      const auto got = load_torch_archive(folder.write("x.pt", archive)).tensors().at("x");
      EXPECT_EQ(got.scalar_type(), type);
      EXPECT_TRUE(got.equal(want.view({2, 2}))) << name;
    }
  }
}

TEST(TorchArchive, ReadsValuesOfEveryKindByPath) {
  PickleWriter pickle(4);
  pickle.raw(std::string("\x95\x10\0\0\0\0\0\0\0", 9));  // FRAME
  pickle.op('}').op('\x94').mark();                      // MEMOIZE
  pickle
      .raw(
          "\x8c\x05"
          "epoch")
      .raw("K\x07");
  pickle
      .raw(
          "\x8c\x02"
          "lr")
      .raw(std::string("G\x3f\xb0\0\0\0\0\0\0", 9));  // 0.0625
  pickle.text("negative").raw("J\xff\xff\xff\xff");
  pickle.text("large").raw(std::string("\x8a\x05\0\0\0\0\x01", 7));  // 2^32
  pickle.text("name").raw(
      "\x8c\x03"
      "abc");
  pickle.text("on").op('\x88').text("nothing").op('N');
  pickle.text("list").op(']').mark().raw("K\x01").raw("K\x02").op('e');
  pickle.text("pair").raw("K\x03").raw("K\x04").op('\x86');
  pickle.raw("K\x09").text("under a number");
  pickle.text("deep").dict().text("er").dict().text("st").raw("M\x39\x05").op('s').op('s');
  pickle.op('u');
  const TemporaryFolder folder;
  const auto archive = load_torch_archive(folder.write("values.pt", testing::torch_zip(pickle.finish(), {})));
  EXPECT_EQ(archive.at("epoch").integer(), 7);
  EXPECT_EQ(archive.at("lr").real(), 0.0625);
  EXPECT_EQ(archive.at("negative").integer(), -1);
  EXPECT_EQ(archive.at("large").integer(), std::int64_t{1} << 32);
  EXPECT_EQ(archive.at("name").string(), "abc");
  EXPECT_TRUE(archive.at("on").boolean());
  EXPECT_EQ(archive.at("nothing").kind(), ValueKind::none);
  EXPECT_EQ(archive.at("list/1").integer(), 2);
  EXPECT_EQ(archive.at("pair/0").integer(), 3);
  EXPECT_EQ(archive.at("9").string(), "under a number");
  EXPECT_EQ(archive.at("deep/er/st").integer(), 1337);
  EXPECT_FALSE(archive.find("list/2").has_value());
  EXPECT_FALSE(archive.find("deep/down").has_value());
  EXPECT_TRUE(fails_with([&] { archive.at("deep/down"); }, {"values.pt", "deep/down"}));
  EXPECT_TRUE(fails_with([&] { archive.at("epoch").string(); }, {"epoch", "integer", "expected a string"}));
}

TEST(TorchArchive, ReadsOrderedDictsOfPairsAndParameters) {
  // Python 2 writes OrderedDict([[key, value], ...]); optimisers and modules keep Parameters.
  PickleWriter pickle;
  pickle.global("collections", "OrderedDict").mark().op(']').mark();
  pickle.op(']').mark().text("weight").global("torch._utils", "_rebuild_parameter").mark();
  pickle.tensor("FloatStorage", "0", 2, 0, {2}, {1}).op('\x88').dict().tuple().op('R').op('e');
  pickle.op('e').tuple().op('R');
  const TemporaryFolder folder;
  const auto path = folder.write("p.pt", testing::torch_zip(pickle.finish(), {{"0", bytes_of(rising(2))}}));
  EXPECT_TRUE(load_torch_archive(path).tensors().at("weight").equal(torch::tensor({0.f, 1.f})));
}

TEST(TorchArchive, UnknownClassesMatterOnlyWhereTensorsDependOnThem) {
  PickleWriter pickle;
  pickle.dict().mark();
  // A key that is a class, an object with state, and a call that would delete files if anybody made it.
  pickle.text("callbacks").dict().global("lightning.callbacks", "ModelCheckpoint").raw("K\x01").op('s');
  pickle.text("object").global("argparse", "Namespace").op(')').op('\x81').dict().op('b');
  pickle.text("call").global("os", "system").mark().text("rm -rf /nowhere").tuple().op('R');
  pickle.text("good").dict().text("x").tensor("FloatStorage", "0", 2, 0, {2}, {1}).op('s');
  pickle.text("mixed").dict().mark().text("x").tensor("FloatStorage", "0", 2, 0, {2}, {1});
  pickle.text("args").global("argparse", "Namespace").op(')').op('R').op('u');
  pickle.text("custom").dict().text("layer.weight").global("my", "Tensor").op(')').op('R').op('s');
  pickle.text("sparse").dict().text("x").global("torch._utils", "_rebuild_sparse_tensor").op(')').op('R').op('s');
  pickle.text("bad").dict().mark().text("x").tensor("FloatStorage", "0", 2, 0, {2}, {1});
  pickle.text("y").tensor("QUInt8Storage", "1", 2, 0, {2}, {1}).op('u');
  pickle.op('u');
  const TemporaryFolder folder;
  const auto archive =
      load_torch_archive(folder.write("o.pt", testing::torch_zip(pickle.finish(), {{"0", bytes_of(rising(2))}})));
  EXPECT_EQ(archive.at("object").kind(), ValueKind::opaque);
  EXPECT_EQ(archive.at("object").class_name(), "argparse.Namespace");
  EXPECT_EQ(archive.at("call").class_name(), "os.system");
  EXPECT_EQ(archive.tensors("good").size(), 1u);
  EXPECT_EQ(archive.tensors("mixed").size(), 1u);
  EXPECT_TRUE(fails_with([&] { archive.tensors("custom"); }, {"custom/layer.weight", "my.Tensor"}));
  EXPECT_TRUE(fails_with([&] { archive.tensors("sparse"); }, {"sparse/x", "_rebuild_sparse_tensor"}));
  EXPECT_TRUE(archive.tensors("callbacks").empty());
  EXPECT_TRUE(fails_with([&] { archive.tensors("bad"); }, {"o.pt", "bad/y", "torch.QUInt8Storage"}));
  EXPECT_TRUE(fails_with([&] { archive.at("call").tensor(); }, {"os.system", "expected a tensor"}));
}

TEST(TorchArchive, TensorsAreWritableAndTheFileStaysAsItIs) {
  const TemporaryFolder folder;
  const auto path = folder.write("views.pt", testing::torch_zip(views_pickle(), {{"7", bytes_of(rising(24))}}));
  const auto before = testing::slurp(path);
  auto whole = load_torch_archive(path).tensors().at("whole");  // outlives the archive
  whole.add_(1);
  EXPECT_EQ(whole.sum().item<float>(), 24 * 23 / 2 + 24);
  EXPECT_EQ(testing::slurp(path), before);
  EXPECT_EQ(load_torch_archive(path).tensors().at("whole").sum().item<float>(), 24 * 23 / 2);
}

TEST(TorchArchive, StoragesAtOddAddressesAreCopied) {
  // In a stream nothing is aligned: here the doubles follow one byte.
  PickleWriter pickle;
  pickle.dict().mark().text("a").tensor("ByteStorage", "0", 1, 0, {1}, {1});
  pickle.text("b").tensor("DoubleStorage", "1", 3, 0, {3}, {1}).op('u');
  const TemporaryFolder folder;
  for (int shift = 0; shift < 8; ++shift) {
    auto padded = pickle;
    padded.mark().raw(std::string(static_cast<std::size_t>(shift), 'N')).op('1');  // values that are dropped again
    const auto bytes =
        testing::torch_stream(padded.finish(), {{"0", 1, "\x05"}, {"1", 3, bytes_of(std::vector<double>{1, 2, 3})}});
    const auto tensors = load_torch_archive(folder.write("odd.pth", bytes)).tensors();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensors.at("b").data_ptr()) % 8, 0u);
    EXPECT_TRUE(tensors.at("b").equal(torch::tensor({1., 2., 3.}, torch::kFloat64)));
  }
}

TEST(Parity, ImportLpipsHeads) {
  TESSERA_FOR_EACH_CASE(fixture, "metrics-lpips") {
    const auto archive = load_torch_archive(fixture.checkpoint());
    const auto heads = archive.tensors();
    const auto& keys = fixture.description["checkpoint"]["keys"];
    ASSERT_EQ(heads.size(), keys.size());
    // The distance per layer: heads times squared differences of features with unit norm, averaged over positions.
    const double eps = fixture.hyperparameters()["normalize_eps"];
    std::vector<torch::Tensor> layers;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto unit = [&](const std::string& name) {
        const auto features = fixture.tensor(name);
        return features / (features.pow(2).sum(1, true).sqrt() + eps);
      };
      const auto& head = heads.at("lin" + std::to_string(i) + ".model.1.weight");
      EXPECT_EQ(head.sizes().vec(),
                keys["lin" + std::to_string(i) + ".model.1.weight"][1].get<std::vector<std::int64_t>>());
      EXPECT_TRUE((head >= 0).all().item<bool>());
      const auto difference = (unit("feat0_" + std::to_string(i)) - unit("feat1_" + std::to_string(i))).pow(2);
      layers.push_back((difference * head).sum(1, true).mean({2, 3}, true));
    }
    EXPECT_TRUE(fixture.matches("distance", torch::stack(layers).sum(0).flatten()));
  }
}

}  // namespace torch_archive_test
}  // namespace tessera
