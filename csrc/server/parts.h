// What the shards of a collection are asked for, and what they answer made one; bytes to bytes. As a root in Python
// does it: bebr/cluster/services/searching.py, bebr/cluster/merging.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bebr {

// Of a SearchRequest that `read_search` has read, the fields that every shard gets as they are: not its collection and
// what is for a root alone, and where there are several shards not its model, k, the offset and the allowed ids.
std::string common_fields(std::string_view message, bool several);

// Of one without ids, what has to be the same for a leaf to answer two of them by one kernel call: all but the
// collection, the queries and what is for a root alone.
std::string kind_fields(std::string_view message);

// The others, of one shard.
struct PartFields {
  std::string_view collection, model;  // model: empty where it is among the common ones
  size_t depth = 0;                    // how many answers a query; 0: as model
  std::optional<std::string_view> allow;
};
// A framed SearchRequest of it.
std::string part_message(std::string_view common, const PartFields& fields);
// The ids that are in each shard, as columns (bebr/cluster/dividing.py).
std::vector<std::string> divide(std::span<const int64_t> ids, size_t shards);
// Has the framed SearchResponse of an only shard say that it is one.
void mark_whole(std::string& reply);

// A search of all shards.
struct Whole {
  size_t queries = 0, k = 0, offset = 0;
  bool ascending = false;  // small scores are the best
  uint64_t elapsed_us = 0;
};

// From the framed SearchResponses of all shards, each of up to offset + k answers a query, a framed one of the k best
// after the first `offset`, equal scores by the smaller id: `out`. False where a reply is none that a shard may give.
bool merge_parts(const Whole& asked, std::span<const std::string> replies, std::string& out);

}  // namespace bebr
