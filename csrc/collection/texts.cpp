#include "collection/texts.h"

#include <cstring>

namespace bebr {

size_t GrowingTexts::size() const {
  const std::lock_guard lock(mutex_);
  return rows_;
}

// Room for so many rows more, which nobody sees yet.
void GrowingTexts::grow(size_t rows) {
  const size_t wanted = (rows_ + rows + kBlock - 1) / kBlock;
  std::vector<Block> made;
  while (blocks_.size() + made.size() < wanted) made.push_back(std::make_unique<std::string_view[]>(kBlock));
  if (made.empty()) return;
  const std::lock_guard lock(mutex_);
  blocks_.reserve(wanted);
  for (Block& block : made) blocks_.push_back(std::move(block));
}

void GrowingTexts::append(std::span<const std::string_view> texts) {
  size_t bytes = 0;
  for (const std::string_view text : texts) bytes += text.size();
  auto copied = bytes > 0 ? std::make_unique<char[]>(bytes) : nullptr;
  texts_.reserve(texts_.size() + 1);
  grow(texts.size());
  char* to = copied.get();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    std::memcpy(to, texts[i].data(), texts[i].size());
    blocks_[(rows_ + i) / kBlock][(rows_ + i) % kBlock] = {to, texts[i].size()};
    to += texts[i].size();
  }
  if (copied) texts_.push_back(std::move(copied));
  const std::lock_guard lock(mutex_);
  rows_ += texts.size();
}

void GrowingTexts::append_empty(size_t rows) {
  grow(rows);
  const std::lock_guard lock(mutex_);
  rows_ += rows;
}

std::optional<std::string_view> GrowingTexts::find(size_t row) const {
  const std::lock_guard lock(mutex_);
  if (row >= rows_) return std::nullopt;
  return at(row);
}

void GrowingTexts::read(std::span<const int64_t> rows, std::string_view* out) const {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < rows.size(); ++i) out[i] = at(static_cast<size_t>(rows[i]));
}

bool is_utf8(std::string_view text) noexcept {
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = at + text.size();
  while (at < end) {
    if (end - at >= 8) {  // most texts are ASCII
      uint64_t eight;
      std::memcpy(&eight, at, sizeof eight);
      if ((eight & 0x8080808080808080) == 0) {
        at += 8;
        continue;
      }
    }
    const uint8_t first = *at++;
    if (first < 0x80) continue;
    const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || static_cast<size_t>(end - at) < more) return false;
    const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[0] < low || at[0] > high) return false;
    for (size_t i = 1; i < more; ++i)
      if ((at[i] & 0xc0) != 0x80) return false;
    at += more;
  }
  return true;
}

}  // namespace bebr
