#include "checkpoint/pickle_machine.h"

#include <bit>
#include <cstring>

#include "checkpoint/torch_objects.h"
#include "runtime/error.h"

namespace tessera {
namespace {

// Opcodes, as Python's pickletools names them.
enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kEmptyDict = '}',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kBinFloat = 'G',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

constexpr int kNewestProtocol = 5;
constexpr std::size_t kItemCharge = 24;  // a pointer in a vector that grows by doubling
constexpr std::size_t kMemoCharge = 48;  // a hash map's entry
constexpr std::size_t kMaxClassName = 512;

}  // namespace

void PickleMachine::malformed(const char* what) const {
  fail("{}: malformed pickle at byte {}: {}", document_.where(), position_, what);
}

std::string_view PickleMachine::take(std::uint64_t count) {
  if (count > bytes_.size() - position_) malformed("it ends inside a value");
  const auto piece = bytes_.substr(position_, count);
  position_ += count;
  return piece;
}

template <typename T>
T PickleMachine::read() {
  T value{};
  std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
  return value;
}

std::string_view PickleMachine::take_line() {
  const auto end = bytes_.substr(position_, kMaxClassName).find('\n');
  if (end == std::string_view::npos) malformed("a class name without end");
  const auto line = take(end);
  ++position_;
  return line;
}

void PickleMachine::push(PickleNode* node) {
  stack_.push_back(node);
  if (stack_.size() > deepest_) {
    deepest_ = stack_.size();
    document_.charge(kItemCharge);
  }
}

PickleNode* PickleMachine::top() {
  if (stack_.empty() || (!marks_.empty() && marks_.back() >= stack_.size())) malformed("the stack is empty");
  return stack_.back();
}

PickleNode* PickleMachine::pop() {
  auto* node = top();
  stack_.pop_back();
  return node;
}

std::size_t PickleMachine::pop_mark() {
  if (marks_.empty()) malformed("no mark on the stack");
  const auto size = marks_.back();
  marks_.pop_back();
  return size;
}

void PickleMachine::add_item(PickleNode* container, PickleNode* item) {
  document_.charge(kItemCharge);
  container->items.push_back(item);
}

void PickleMachine::append_from(PickleNode* container, std::size_t first) {
  // Items added to a subclass of list or set that we do not know are of no use to us.
  if (container->kind != ValueKind::list && container->kind != ValueKind::opaque)
    malformed("items added to what is no list");
  if (container->kind == ValueKind::list) {
    for (auto i = first; i < stack_.size(); ++i) add_item(container, stack_[i]);
  }
  drop_to(first);
}

void PickleMachine::set_items(PickleNode* container, std::size_t first) {
  if ((stack_.size() - first) % 2 != 0) malformed("a key without value");
  if (container->kind != ValueKind::dict && container->kind != ValueKind::opaque)
    malformed("keys set in what is no dict");
  if (container->kind == ValueKind::dict) {
    for (auto i = first; i < stack_.size(); i += 2) {
      document_.charge_entry(*stack_[i]);
      add_item(container, stack_[i]);
      add_item(container, stack_[i + 1]);
    }
  }
  drop_to(first);
}

PickleNode* PickleMachine::gather(ValueKind kind, std::size_t first) {
  auto* node = document_.make(kind);
  document_.charge(sizeof(PickleNode*) * (stack_.size() - first));
  node->items.assign(stack_.begin() + static_cast<std::ptrdiff_t>(first), stack_.end());
  drop_to(first);
  return node;
}

void PickleMachine::put(std::uint64_t index) {
  document_.charge(kMemoCharge);
  memo_[index] = top();
}

void PickleMachine::get(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) malformed("it refers to a value that was not stored");
  push(found->second);
}

void PickleMachine::push_integer_of(std::string_view little_endian) {
  if (little_endian.size() > 8) return push(document_.make_text(ValueKind::opaque, "builtins.int"));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < little_endian.size(); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(little_endian[i])} << (8 * i);
  }
  const auto bits = 8 * little_endian.size();
  if (bits > 0 && bits < 64 && (value >> (bits - 1)) != 0) value |= ~std::uint64_t{0} << bits;
  push(document_.make_integer(ValueKind::integer, static_cast<std::int64_t>(value)));
}

bool PickleMachine::step_scalar(std::uint8_t opcode) {
  switch (opcode) {
    case kNone:
      push(document_.make(ValueKind::none));
      return true;
    case kNewTrue:
      push(document_.make_integer(ValueKind::boolean, 1));
      return true;
    case kNewFalse:
      push(document_.make_integer(ValueKind::boolean, 0));
      return true;
    case kBinInt:
      push(document_.make_integer(ValueKind::integer, read<std::int32_t>()));
      return true;
    case kBinInt1:
      push(document_.make_integer(ValueKind::integer, read<std::uint8_t>()));
      return true;
    case kBinInt2:
      push(document_.make_integer(ValueKind::integer, read<std::uint16_t>()));
      return true;
    case kLong1:
      push_integer_of(take(read<std::uint8_t>()));
      return true;
    case kLong4:
      push_integer_of(take(read<std::uint32_t>()));
      return true;
    case kBinFloat: {
      const auto bits = __builtin_bswap64(read<std::uint64_t>());  // the one big-endian field of the format
      auto* node = document_.make(ValueKind::real);
      node->real = std::bit_cast<double>(bits);
      push(node);
      return true;
    }
    default:
      return false;
  }
}

bool PickleMachine::step_text(std::uint8_t opcode) {
  auto kind = ValueKind::string;
  std::uint64_t size = 0;
  switch (opcode) {
    case kBinUnicode:
    case kBinString:
      size = read<std::uint32_t>();
      break;
    case kShortBinUnicode:
    case kShortBinString:
      size = read<std::uint8_t>();
      break;
    case kBinUnicode8:
      size = read<std::uint64_t>();
      break;
    case kBinBytes:
      kind = ValueKind::bytes;
      size = read<std::uint32_t>();
      break;
    case kShortBinBytes:
      kind = ValueKind::bytes;
      size = read<std::uint8_t>();
      break;
    case kBinBytes8:
    case kByteArray8:
      kind = ValueKind::bytes;
      size = read<std::uint64_t>();
      break;
    default:
      return false;
  }
  push(document_.make_text(kind, take(size)));
  return true;
}

bool PickleMachine::step_container(std::uint8_t opcode) {
  switch (opcode) {
    case kMark:
      document_.charge(kItemCharge);
      marks_.push_back(stack_.size());
      return true;
    case kEmptyDict:
      push(document_.make(ValueKind::dict));
      return true;
    case kEmptyList:
    case kEmptySet:
      push(document_.make(ValueKind::list));
      return true;
    case kEmptyTuple:
      push(document_.make(ValueKind::tuple));
      return true;
    case kTuple1:
    case kTuple2:
    case kTuple3: {
      const std::size_t count = opcode - kTuple1 + 1;
      if (stack_.size() < count + (marks_.empty() ? 0 : marks_.back())) malformed("too few values for a tuple");
      push(gather(ValueKind::tuple, stack_.size() - count));
      return true;
    }
    case kTuple:
      push(gather(ValueKind::tuple, pop_mark()));
      return true;
    case kList:
    case kFrozenSet:
      push(gather(ValueKind::list, pop_mark()));
      return true;
    case kDict: {
      const auto first = pop_mark();
      if ((stack_.size() - first) % 2 != 0) malformed("a key without value");
      for (auto i = first; i < stack_.size(); i += 2) document_.charge_entry(*stack_[i]);
      push(gather(ValueKind::dict, first));
      return true;
    }
    case kAppend: {
      auto* item = pop();
      auto* list = top();
      push(item);
      append_from(list, stack_.size() - 1);
      return true;
    }
    case kAppends:
    case kAddItems: {
      const auto first = pop_mark();
      if (first == 0) malformed("no list below the mark");
      append_from(stack_[first - 1], first);
      return true;
    }
    case kSetItem: {
      auto* value = pop();
      auto* key = pop();
      auto* dict = top();
      push(key);
      push(value);
      set_items(dict, stack_.size() - 2);
      return true;
    }
    case kSetItems: {
      const auto first = pop_mark();
      if (first == 0) malformed("no dict below the mark");
      set_items(stack_[first - 1], first);
      return true;
    }
    default:
      return false;
  }
}

bool PickleMachine::step_memo(std::uint8_t opcode) {
  switch (opcode) {
    case kBinPut:
      put(read<std::uint8_t>());
      return true;
    case kLongBinPut:
      put(read<std::uint32_t>());
      return true;
    case kMemoize:
      put(memo_.size());
      return true;
    case kBinGet:
      get(read<std::uint8_t>());
      return true;
    case kLongBinGet:
      get(read<std::uint32_t>());
      return true;
    case kPop:
      // A mark counts as a value for this one opcode.
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case kPopMark:
      drop_to(pop_mark());
      return true;
    case kDup:
      push(top());
      return true;
    default:
      return false;
  }
}

bool PickleMachine::step_object(std::uint8_t opcode) {
  switch (opcode) {
    case kProto: {
      const auto protocol = read<std::uint8_t>();
      if (protocol < 1 || protocol > kNewestProtocol) malformed("expected protocol 1 to 5");
      return true;
    }
    case kFrame:
      read<std::uint64_t>();
      return true;  // only says how much to read ahead
    case kGlobal: {
      const auto module = take_line();
      const auto name = take_line();
      push(document_.make_text(ValueKind::type, document_.keep(fmt::format("{}.{}", module, name))));
      return true;
    }
    case kStackGlobal: {
      const auto* name = pop();
      const auto* module = pop();
      if (name->kind != ValueKind::string || module->kind != ValueKind::string ||
          name->text.size() + module->text.size() > kMaxClassName) {
        malformed("a class name that is none");
      }
      push(document_.make_text(ValueKind::type, document_.keep(fmt::format("{}.{}", module->text, name->text))));
      return true;
    }
    case kReduce:
    case kNewObj: {
      auto* arguments = pop();
      auto* callable = pop();
      push(call_known(document_, *callable, *arguments));
      return true;
    }
    case kNewObjEx: {
      pop();  // keyword arguments
      auto* arguments = pop();
      auto* callable = pop();
      push(call_known(document_, *callable, *arguments));
      return true;
    }
    case kBuild:
      // State set on an object: a dict's _metadata, a tensor's hooks, an unknown object's fields. None of it is needed.
      pop();
      top();
      return true;
    case kBinPersId:
      push(resolve_persistent(document_, *pop()));
      return true;
    default:
      return false;
  }
}

PickleNode* PickleMachine::run() {
  while (true) {
    const auto opcode = read<std::uint8_t>();
    if (opcode == kStop) return pop();
    const bool known =
        step_scalar(opcode) || step_text(opcode) || step_container(opcode) || step_memo(opcode) || step_object(opcode);
    if (!known) {
      fail("{}: pickle opcode 0x{:02x} at byte {} is not one that torch.save writes", document_.where(), opcode,
           position_ - 1);
    }
  }
}

}  // namespace tessera
