/// One SQLite file, opened for one server: statements with bound values, errors as Error. Every call is safe from any
/// thread; what must stand together is done in one Transaction. In SQL, checksum(VALUE, ...) is the SHA-256 of the
/// values with their types and lengths, in hexadecimal digits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace tessera::server {

/// What a cell holds; bytes and texts are both strings, bytes are told apart when they are bound.
struct Blob {
  std::string bytes;
};
using Cell = std::variant<std::nullptr_t, std::int64_t, double, std::string, Blob>;

/// One row of an answer. Asking for another type than the cell has gives its empty value.
class Row {
 public:
  std::int64_t whole(std::size_t column) const;
  double number(std::size_t column) const;
  std::string text(std::size_t column) const;  // of a text or of bytes

  std::vector<Cell> cells;
};

class Database {
 public:
  /// Makes the file where it is missing. Throws Error: no such place, or a file that is no database.
  explicit Database(const std::filesystem::path& file);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// Runs one statement with values for its ?s and returns all rows.
  std::vector<Row> run(const char* sql, const std::vector<Cell>& values = {});
  /// Several statements without values.
  void run_all(const char* sql);
  /// Walks through the whole file. Out: the first thing that is not as SQLite wrote it; empty: nothing.
  std::string damage();

  /// Commits at the end of its life unless an exception is under way; others wait meanwhile.
  class Transaction {
   public:
    explicit Transaction(Database& database);
    ~Transaction() noexcept(false);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

   private:
    Database& database_;
    std::unique_lock<std::recursive_mutex> lock_;
    const int exceptions_;
  };

 private:
  [[noreturn]] void complain() const;

  std::recursive_mutex mutex_;
  sqlite3* handle_ = nullptr;
};

/// false: this build has no SQLite.
bool databases_supported();

}  // namespace tessera::server
