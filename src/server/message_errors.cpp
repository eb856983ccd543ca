/// Exceptions across the border of a process: server/message_values.h.
#include <c10/util/Exception.h>

#include <new>

#include "runtime/out_of_memory.h"
#include "runtime/wanted.h"
#include "server/http_message.h"
#include "server/message_values.h"

namespace tessera::server {
namespace {

Message kind_and_text(const char* kind, const std::string& text) {
  return {{{"thrown", kind}, {"text", text}}};
}

}  // namespace

Message thrown_message(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Unwanted& error) {
    return kind_and_text("unwanted", error.what());
  } catch (const HttpError& error) {
    auto message = kind_and_text("http", error.what());
    message.head["status"] = error.status;
    message.head["field"] = error.field;
    message.head["retry_after"] = error.retry_after;
    return message;
  } catch (const UsageError& error) {
    return kind_and_text("usage", error.what());
  } catch (const Error& error) {
    return kind_and_text("error", error.what());
  } catch (const std::bad_alloc&) {
    return kind_and_text("memory", {});
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return kind_and_text(find_out_of_memory(text) != std::string_view::npos ? "memory" : "internal", text);
  } catch (const std::exception& error) {
    return kind_and_text("internal", error.what());
  } catch (...) {
    return kind_and_text("internal", "unknown reason");
  }
}

void throw_again(const Message& message) {
  const auto kind = message.head.at("thrown").get<std::string>(), text = message.head.at("text").get<std::string>();
  if (kind == "unwanted") throw Unwanted(text);
  if (kind == "http")
    throw HttpError(message.head.at("status"), text, message.head.at("field"), message.head.at("retry_after"));
  if (kind == "usage") throw UsageError(text);
  if (kind == "error") throw Error(text);
  if (kind == "memory") throw std::bad_alloc();
  if (kind == "internal") throw std::runtime_error(text);
  throw Malformed(fmt::format("message: '{}' was thrown", kind.substr(0, 60)));
}

}  // namespace tessera::server
