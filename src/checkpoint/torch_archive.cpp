#include "checkpoint/torch_archive.h"

#include <cstring>
#include <fstream>

#include "checkpoint/pickle_machine.h"
#include "checkpoint/zip_directory.h"
#include "runtime/error.h"
#include "runtime/foreign_bytes.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr std::string_view kZipStart = "PK\x03\x04";
constexpr char kStreamStart = '\x80';                                                     // a pickle's PROTO opcode
constexpr std::string_view kStreamMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);  // 0x1950a86a20f9469cfc6c
constexpr std::int64_t kStreamProtocol = 1001;

std::string_view stored_bytes(const MappedFile& file, const std::string& name, const ZipMember& member) {
  require(member.stored, "{}: zip member '{}' is compressed, expected it stored as torch.save does",
          file.path().string(), printable(name));
  return file.bytes().substr(member.offset, member.size);
}

TorchArchive load_zip(std::shared_ptr<MappedFile> file) {
  const auto where = file->path().string();
  const auto directory = read_zip_directory(file->bytes(), where);
  constexpr std::string_view kPickle = "data.pkl";
  const ZipMember* pickle = nullptr;
  std::string prefix;
  for (const auto& [name, member] : directory) {
    if (name != kPickle && !name.ends_with("/data.pkl")) continue;
    require(!pickle, "{}: two members are called data.pkl", where);
    pickle = &member;
    prefix = name.substr(0, name.size() - kPickle.size());
  }
  require(pickle, "{}: a zip archive without data.pkl, so none that torch.save wrote", where);
  if (const auto order = directory.find(prefix + "byteorder"); order != directory.end()) {
    const auto text = stored_bytes(*file, order->first, order->second);
    require(text == "little", "{}: byte order '{}', expected little", where, printable(text));
  }
  auto document = std::make_shared<PickleDocument>(file);
  PickleMachine machine(*document, stored_bytes(*file, prefix + "data.pkl", *pickle));
  const auto* root = machine.run();
  const auto data = prefix + "data/";
  for (auto entry = directory.lower_bound(data); entry != directory.end() && entry->first.starts_with(data); ++entry) {
    document->place_storage(document->keep(entry->first.substr(data.size())),
                            stored_bytes(*file, entry->first, entry->second));
  }
  return {std::move(document), root, true};
}

/// The stream: magic number, protocol, system, the object, the storages' keys; then for each key a count and the
/// elements.
TorchArchive load_stream(std::shared_ptr<MappedFile> file) {
  const auto where = file->path().string();
  auto document = std::make_shared<PickleDocument>(file);
  std::string_view rest = file->bytes();
  constexpr std::size_t kMagicPickleBytes = 40;  // in any protocol
  require(rest.substr(0, kMagicPickleBytes).find(kStreamMagic) != std::string_view::npos,
          "{}: a pickle, but not one that torch.save wrote", where);
  const auto next = [&] {
    PickleMachine machine(*document, rest);
    const auto* value = machine.run();
    rest.remove_prefix(machine.position());
    return value;
  };
  next();  // the magic number
  const auto* protocol = next();
  require(protocol->kind == ValueKind::integer && protocol->integer == kStreamProtocol,
          "{}: torch stream of an unknown protocol, expected {}", where, kStreamProtocol);
  const auto* system = next();
  for (std::size_t i = 0; i + 1 < system->items.size(); i += 2) {
    const bool order = system->kind == ValueKind::dict && system->items[i]->text == "little_endian";
    require(!order || system->items[i + 1]->integer == 1, "{}: big-endian tensors, expected little-endian", where);
  }
  const auto* root = next();
  const auto* keys = next();
  require(keys->kind == ValueKind::list, "{}: a torch stream without a list of its storages", where);
  std::map<std::string_view, const PickledStorage*> types;
  for (const auto& storage : document->storages()) {
    document->charge(96);
    types.emplace(storage.key, &storage);
  }
  for (const auto* key : keys->items) {
    require(key->kind == ValueKind::string, "{}: a storage's key that is no string", where);
    const auto found = types.find(key->text);
    require(found != types.end(), "{}: storage '{}' belongs to no tensor, so that its type is unknown", where,
            printable(key->text));
    std::int64_t count = 0;
    require(rest.size() >= sizeof(count), "{}: truncated before storage '{}'", where, printable(key->text));
    std::memcpy(&count, rest.data(), sizeof(count));
    rest.remove_prefix(sizeof(count));
    std::uint64_t bytes = 0;
    require(checked_bytes(count, found->second->type, bytes) && bytes <= rest.size(),
            "{}: storage '{}' of {} elements reaches past the end of the file", where, printable(key->text), count);
    document->place_storage(key->text, rest.substr(0, bytes));
    rest.remove_prefix(bytes);
  }
  return {std::move(document), root, false};
}

}  // namespace

bool looks_like_torch_archive(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  char start[9] = {};
  stream.read(start, sizeof(start));
  // A safetensors file may begin with the same byte: its header's length, and the header itself begins with a brace.
  const bool is_header = stream.gcount() == sizeof(start) && start[8] == '{';
  return std::string_view(start, 4) == kZipStart || (stream.gcount() > 0 && start[0] == kStreamStart && !is_header);
}

TorchArchive load_torch_archive(const std::filesystem::path& path) {
  auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.starts_with(kZipStart)) return load_zip(std::move(file));
  const auto other = foreign_bytes(bytes.substr(0, 512));
  require(other.empty(), "{}: {}", path.string(), other);
  if (bytes.front() == kStreamStart) return load_stream(std::move(file));
  fail("{}: neither a zip archive nor a stream of torch.save", path.string());
}

}  // namespace tessera
