// Texts beside rows, as they are stored: payloads, and keys of ids.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bebr {

// Of rows at positions 0 to rows - 1. Any number of threads may read.
class TextColumn {
 public:
  TextColumn() = default;
  TextColumn(const TextColumn&) = delete;
  TextColumn& operator=(const TextColumn&) = delete;
  virtual ~TextColumn() = default;
  // Of a row that is there; good as long as the column. Absent where that is damaged.
  virtual std::optional<std::string_view> find(size_t row) const = 0;
};

// Two sections of a file: row i's text is text[at[i]] up to text[at[i + 1]]. Their owner outlives this.
class MappedTexts final : public TextColumn {
 public:
  MappedTexts(std::span<const uint64_t> at, std::string_view text) : at_(at), text_(text) {}
  std::optional<std::string_view> find(size_t row) const override {
    if (row + 1 >= at_.size() || at_[row] > at_[row + 1] || at_[row + 1] > text_.size()) return std::nullopt;
    return text_.substr(at_[row], at_[row + 1] - at_[row]);
  }
  void keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }

 private:
  std::span<const uint64_t> at_;
  std::string_view text_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Rows in memory that are only appended to, by one thread. What was appended never moves.
class GrowingTexts final : public TextColumn {
 public:
  size_t size() const;
  // All or nothing.
  void append(std::span<const std::string_view> texts);
  // So many rows without a text.
  void append_empty(size_t rows);
  std::optional<std::string_view> find(size_t row) const override;
  // Of rows that are there.
  void read(std::span<const int64_t> rows, std::string_view* out) const;

 private:
  static constexpr size_t kBlock = 1024;  // rows
  using Block = std::unique_ptr<std::string_view[]>;
  std::string_view at(size_t row) const { return blocks_[row / kBlock][row % kBlock]; }
  void grow(size_t rows);

  mutable std::mutex mutex_;  // over rows_ and the list of blocks, not what is in them before rows_
  size_t rows_ = 0;
  std::vector<Block> blocks_;
  std::vector<std::unique_ptr<char[]>> texts_;  // the appending thread's
};

// Whether these bytes are UTF-8, in the shortest form, without surrogates.
bool is_utf8(std::string_view text) noexcept;

}  // namespace bebr
