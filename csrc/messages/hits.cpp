#include "messages/hits.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "messages/reader.h"

namespace bebr {

static_assert(std::endian::native == std::endian::little, "columns are little-endian");

std::optional<ReplyHits> read_hits(std::string_view message, size_t width) {
  ReplyHits found;
  Reader in(message);
  while (in.more()) {
    const uint64_t field = in.varint(UINT32_MAX);
    switch (field) {
      case bytes_field(1):
        found.ids = in.bytes();
        break;
      case bytes_field(2):
        found.scores = in.bytes();
        break;
      case bytes_field(3): {  // packed, as protobuf writes it; others need not
        Reader packed(in.bytes());
        while (packed.more()) found.counts.push_back(packed.number());
        if (!packed.good()) return std::nullopt;
        break;
      }
      case varint_field(3):
        found.counts.push_back(in.number());
        break;
      case varint_field(5):  // how long the search took
      case varint_field(6):  // and in which company
        in.skip(field);
        break;
      default:
        found.more = true;
        in.skip(field);
    }
  }
  uint64_t total = 0;
  for (const uint32_t count : found.counts) {
    if (count > width) return std::nullopt;
    total += count;
  }
  if (!in.good() || found.ids.size() != total * sizeof(int64_t) || found.scores.size() != total * sizeof(float))
    return std::nullopt;
  return found;
}

void ReplyHits::place(size_t width, float worst, float* to_scores, int64_t* to_ids) const noexcept {
  size_t at = 0;
  for (size_t row = 0; row < counts.size(); ++row) {
    const size_t count = counts[row];
    float* const row_scores = to_scores + row * width;
    int64_t* const row_ids = to_ids + row * width;
    if (count > 0) {
      std::memcpy(row_scores, scores.data() + at * sizeof(float), count * sizeof(float));
      std::memcpy(row_ids, ids.data() + at * sizeof(int64_t), count * sizeof(int64_t));
    }
    std::fill(row_scores + count, row_scores + width, worst);
    std::fill(row_ids + count, row_ids + width, int64_t{-1});
    at += count;
  }
}

}  // namespace bebr
