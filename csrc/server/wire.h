// bebr.v1.SearchRequest and SearchResponse as bytes (proto/bebr/v1/bebr.proto), and the frame that gRPC puts round a
// message. Only what the front answers by itself is read; whatever else a request holds, or might hold in a version to
// come, is none of its business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collection/searcher.h"

namespace bebr {

// A message and its five bytes of length before it.
inline constexpr size_t kFrameHead = 5;
// The length that the first bytes of a frame announce; absent: too few bytes, or a compressed message.
std::optional<size_t> framed_length(std::string_view frame) noexcept;
// Writes the length of the message of a frame, before which kFrameHead zeros stand.
void put_length(std::string& frame) noexcept;

// Views of a message that stays where it is.
struct SearchRequest {
  std::string_view collection, model;
  std::string_view values;  // of all queries
  bool half = false;        // they are float16
  bool payloads = false;    // replies have them
  bool partial = false;     // of a collection in shards, what those that answer have
  size_t dimension = 0, count = 0;
  size_t offset = 0;
  std::optional<std::string_view> filter;    // as it is written
  std::optional<std::string_view> group_by;  // hits come in groups, of up to so many rows
  size_t group_size = 1;
  std::optional<std::string_view> allow, by_ids;  // int64 each; by_ids: in place of queries, then `count` is theirs
  CollectionSearch asked;                         // k without the offset
};

// Nothing where the message has a field, a value or an encoding that the front does not answer, and where Python would
// refuse it: then the message is Python's.
std::optional<SearchRequest> read_search(std::string_view message) noexcept;

// Whether the values fill the queries, [count, dimension], and all of them are finite.
bool good_queries(const SearchRequest& request) noexcept;
// Values of queries as floats; half: they are float16.
void load_queries(std::string_view values, bool half, float* queries) noexcept;

// The ids of such a column; nothing where it is none of whole numbers, or one may stand for a row of another number: it
// is negative, or a place of keys and the rows have some (bebr/collection/keys.py).
std::optional<std::vector<int64_t>> read_ids(std::string_view column, bool keyed);

// Under what the rows are published that a filter lets through and that have a value at a path to group by.
std::string group_key(const std::optional<std::string_view>& filter, std::string_view path);
// The filter of such a key, or of one that is a filter itself.
std::optional<std::string> filter_of_key(const std::optional<std::string>& key);

// What a reply is made of: the answers from `offset` on to n queries.
struct Answers {
  const float* scores = nullptr;  // [n, depth]
  const int64_t* ids = nullptr;   // [n, depth], missing ones -1 at the end
  size_t n = 0, depth = 0, offset = 0;
  uint64_t elapsed_us = 0;
  uint32_t batch = 0;

  std::span<const std::string> groups{};  // where n are groups: their values
  uint32_t shards = 0;                    // of a collection in shards: so many, all of which have answered

  // How many a query shows.
  size_t count(size_t query) const noexcept;
  // The ids that are there, query after query.
  std::vector<int64_t> shown() const;
};

// A framed SearchResponse in place of what `out` holds. texts: of the ids that are shown.
void write_reply(const Answers& answers, const RowTexts& texts, std::string& out);

}  // namespace bebr
