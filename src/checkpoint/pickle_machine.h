/// A restricted pickle machine: protocols 2 to 5 as far as torch.save uses them. It builds values and calls nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/pickle_document.h"

namespace tessera {

/// Reads one pickle. In: its bytes (they must live as long as the document; more may follow). Classes that are not
/// known (torch_objects.h) become opaque values, and so does whatever is built from them. Throws Error for malformed
/// bytes, for opcodes that torch.save does not write, and above the document's memory limit.
class PickleMachine {
 public:
  PickleMachine(PickleDocument& document, std::string_view bytes) : document_(document), bytes_(bytes) {}
  /// Runs to the STOP opcode and returns the value.
  PickleNode* run();
  /// The byte after the STOP opcode.
  std::size_t position() const { return position_; }

 private:
  /// False when the opcode is not of the group's.
  bool step_scalar(std::uint8_t opcode);
  bool step_text(std::uint8_t opcode);
  bool step_container(std::uint8_t opcode);
  bool step_memo(std::uint8_t opcode);
  bool step_object(std::uint8_t opcode);

  template <typename T>
  T read();
  std::string_view take(std::uint64_t count);
  std::string_view take_line();
  void push(PickleNode* node);
  void push_integer_of(std::string_view little_endian);
  PickleNode* pop();
  PickleNode* top();
  std::size_t pop_mark();
  void drop_to(std::size_t size) { stack_.resize(size); }
  void append_from(PickleNode* container, std::size_t first);
  void add_item(PickleNode* container, PickleNode* item);
  void set_items(PickleNode* container, std::size_t first);
  PickleNode* gather(ValueKind kind, std::size_t first);
  void put(std::uint64_t index);
  void get(std::uint64_t index);
  [[noreturn]] void malformed(const char* what) const;

  PickleDocument& document_;
  std::string_view bytes_;
  std::size_t position_ = 0;
  std::vector<PickleNode*> stack_;
  std::vector<std::size_t> marks_;  // sizes of the stack
  std::size_t deepest_ = 0;
  std::unordered_map<std::uint64_t, PickleNode*> memo_;
};

}  // namespace tessera
