// The hits of a bebr.v1.SearchResponse (proto/bebr/v1/bebr.proto), for clients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace bebr {

// Views of a message that stays where it is.
struct ReplyHits {
  std::string_view ids, scores;  // int64 and float32, as many as the sum of the counts
  std::vector<uint32_t> counts;  // of each query, or of each group
  bool more = false;  // there are fields beside these and what the search took: payloads, keys, groups, shards

  // To scores and ids, both [counts, width]. Where there are fewer: `worst`, and id -1. Every count is at most `width`.
  void place(size_t width, float worst, float* to_scores, int64_t* to_ids) const noexcept;
};

// Nothing where the message is none, or its columns do not fit together, or a count is above `width`.
std::optional<ReplyHits> read_hits(std::string_view message, size_t width);

}  // namespace bebr
