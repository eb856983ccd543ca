#include "server/database.h"

#include <exception>

#include "checkpoint/sha256.h"
#include "runtime/error.h"

#ifdef TESSERA_WITH_SQLITE
#include <sqlite3.h>
#endif

namespace tessera::server {

std::int64_t Row::whole(std::size_t column) const {
  const auto* value = std::get_if<std::int64_t>(&cells.at(column));
  return value ? *value : 0;
}

double Row::number(std::size_t column) const {
  if (const auto* value = std::get_if<double>(&cells.at(column))) return *value;
  return static_cast<double>(whole(column));
}

std::string Row::text(std::size_t column) const {
  if (const auto* value = std::get_if<std::string>(&cells.at(column))) return *value;
  const auto* blob = std::get_if<Blob>(&cells.at(column));
  return blob ? blob->bytes : std::string();
}

#ifdef TESSERA_WITH_SQLITE

namespace {

/// Ends a statement however its use ends.
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

struct Bind {
  sqlite3_stmt* statement;
  int at;  // from 1

  int operator()(std::nullptr_t) const { return sqlite3_bind_null(statement, at); }
  int operator()(std::int64_t value) const { return sqlite3_bind_int64(statement, at, value); }
  int operator()(double value) const { return sqlite3_bind_double(statement, at, value); }
  int operator()(const std::string& value) const {
    return sqlite3_bind_text64(statement, at, value.data(), value.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  int operator()(const Blob& value) const {
    return sqlite3_bind_blob64(statement, at, value.bytes.data(), value.bytes.size(), SQLITE_STATIC);
  }
};

Cell cell_of(sqlite3_stmt* statement, int column) {
  const auto bytes = [&](const void* data) {
    return std::string(static_cast<const char*>(data),
                       static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
  };
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return std::int64_t{sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    case SQLITE_TEXT:
      return bytes(sqlite3_column_text(statement, column));
    case SQLITE_BLOB:
      return sqlite3_column_bytes(statement, column) == 0 ? Blob{}
                                                          : Blob{bytes(sqlite3_column_blob(statement, column))};
    default:
      return nullptr;
  }
}

void add_value(Sha256& hash, sqlite3_value* value) {
  const int type = sqlite3_value_type(value);
  std::string bytes;
  if (type == SQLITE_INTEGER) {
    bytes = std::to_string(sqlite3_value_int64(value));
  } else if (type == SQLITE_FLOAT) {
    const double number = sqlite3_value_double(value);
    bytes.assign(reinterpret_cast<const char*>(&number), sizeof(number));
  } else if (type != SQLITE_NULL) {
    const auto* data = static_cast<const char*>(sqlite3_value_blob(value));
    if (data) bytes.assign(data, static_cast<std::size_t>(sqlite3_value_bytes(value)));
  }
  hash.update(std::to_string(type) + ":" + std::to_string(bytes.size()) + ":");
  hash.update(bytes);
}

void checksum(sqlite3_context* context, int count, sqlite3_value** values) {
  try {
    Sha256 hash;
    for (int i = 0; i < count; ++i) add_value(hash, values[i]);
    const auto digest = hash.finish();
    sqlite3_result_text(context, digest.data(), static_cast<int>(digest.size()), SQLITE_TRANSIENT);
  } catch (const std::exception& error) {  // none may pass through SQLite
    sqlite3_result_error(context, error.what(), -1);
  }
}

}  // namespace

bool databases_supported() {
  return true;
}

Database::Database(const std::filesystem::path& file) {
  const auto code = sqlite3_open_v2(file.c_str(), &handle_,
                                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
  if (code != SQLITE_OK) {
    const std::string why = handle_ ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
    sqlite3_close(handle_);
    fail("{}: {}", file.string(), why);
  }
  sqlite3_busy_timeout(handle_, 5000);
  sqlite3_create_function_v2(handle_, "checksum", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, checksum, nullptr,
                             nullptr, nullptr);
}

Database::~Database() {
  sqlite3_close(handle_);
}

void Database::complain() const {
  fail("workspace table: {}", sqlite3_errmsg(handle_));
}

std::vector<Row> Database::run(const char* sql, const std::vector<Cell>& values) {
  const std::lock_guard lock(mutex_);
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(handle_, sql, -1, &raw, nullptr) != SQLITE_OK) complain();
  const Statement statement(raw);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::visit(Bind{raw, static_cast<int>(i) + 1}, values[i]) != SQLITE_OK) complain();
  }
  std::vector<Row> rows;
  for (;;) {
    const auto code = sqlite3_step(raw);
    if (code == SQLITE_DONE) return rows;
    if (code != SQLITE_ROW) complain();
    Row row;
    for (int column = 0; column < sqlite3_column_count(raw); ++column) row.cells.push_back(cell_of(raw, column));
    rows.push_back(std::move(row));
  }
}

void Database::run_all(const char* sql) {
  const std::lock_guard lock(mutex_);
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) complain();
}

#else

bool databases_supported() {
  return false;
}

Database::Database(const std::filesystem::path&) {
  fail("this build has no SQLite: workspaces need it");
}
Database::~Database() = default;
void Database::complain() const {
  fail("this build has no SQLite");
}
std::vector<Row> Database::run(const char*, const std::vector<Cell>&) {
  complain();
}
void Database::run_all(const char*) {
  complain();
}

#endif

Database::Transaction::Transaction(Database& database)
    : database_(database), lock_(database.mutex_), exceptions_(std::uncaught_exceptions()) {
  database_.run("BEGIN IMMEDIATE");
}

Database::Transaction::~Transaction() noexcept(false) {
  const auto roll_back = [this] {
    try {
      database_.run("ROLLBACK");
    } catch (const Error&) {  // the first error is the one that counts
    }
  };
  if (std::uncaught_exceptions() != exceptions_) {
    roll_back();
    return;
  }
  try {
    database_.run("COMMIT");
  } catch (...) {
    roll_back();
    throw;
  }
}

std::string Database::damage() {
  const auto rows = run("PRAGMA integrity_check(1)");
  const auto said = rows.empty() ? std::string("cannot be walked through") : rows.front().text(0);
  return said == "ok" ? "" : said;
}

}  // namespace tessera::server
