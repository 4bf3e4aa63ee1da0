// A collection at one moment, as those see it who search it and know nothing of codes: the server's front. It may be in
// another shared library than the engine, so all of it is virtual and nothing is thrown.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/search_work.h"

namespace bebr {

// The most lists that a search may look at, and the most candidates of a walk (bebr/index).
inline constexpr size_t kMostLists = size_t{1} << 20;
inline constexpr size_t kMostCandidates = (size_t{1} << 31) - 1;

// What a search of a collection is asked for (`Collection.search`).
struct CollectionSearch {
  size_t k = 10;
  bool coded = false;  // the query is coded, too
  bool exact = false;
  std::optional<size_t> oversampling;
  std::optional<double> radius;
  std::optional<size_t> rescore;  // how many get exact scores, 0 or at least k; absent: the default
  // Lists looked at in parts that have lists, candidates of a walk in graphs; absent: as measured for the part.
  std::optional<size_t> nprobe, ef_search;
  std::optional<std::span<const int64_t>> allow;  // only these ids; absent: any. They outlive the search
  const std::atomic<bool>* stop = nullptr;
  SearchWork* work = nullptr;  // that is added to; null: nobody wants to know

  // Whether both find the same of a query where both allow the same ids.
  bool alike(const CollectionSearch& other) const noexcept {
    return k == other.k && coded == other.coded && exact == other.exact && oversampling == other.oversampling &&
           radius == other.radius && rescore == other.rescore && nprobe == other.nprobe && ef_search == other.ef_search;
  }
};

// Texts of rows, as they are stored: views that are good as long as the searcher. "" where there is none.
struct RowTexts {
  std::vector<std::string_view> payloads, keys;  // one a row, or none at all
};

// Hits in groups by the value of a payload field, k a query, groups by their best row.
struct RowGroups {
  std::vector<float> scores;        // [n, k, size]
  std::vector<int64_t> ids;         // -1 where a group has fewer rows
  std::vector<std::string> values;  // [n, k], as JSON; "" where there are no more groups
};

class Searcher {
 public:
  Searcher() = default;
  Searcher(const Searcher&) = delete;
  Searcher& operator=(const Searcher&) = delete;
  virtual ~Searcher() = default;

  virtual size_t rows() const noexcept = 0;  // that a search looks at
  virtual size_t query_dim() const noexcept = 0;
  virtual bool keeps_vectors() const noexcept = 0;
  virtual bool has_decoder() const noexcept = 0;
  // How many rows a query has to find by code before their exact scores decide; 0: k, and scores are by code.
  virtual size_t candidates(size_t k, std::optional<size_t> rescore) const noexcept = 0;
  // queries [n, query_dim], finite -> scores and ids [n, k], best first; -1 where there are fewer. False where that
  // failed, and where asked.stop was set.
  virtual bool try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                          int64_t* ids) const noexcept = 0;
  // The rows most like each of the rows `of` [n], itself left out; else as try_search, but for asked.coded, which is
  // not read. False, too, where one of them has no row with a vector.
  virtual bool try_search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                               int64_t* ids) const noexcept = 0;
  // asked.k groups of up to `size` rows for queries [n, query_dim], or where these are null for the rows `of` [n].
  // False as above, and where rows are not grouped here.
  virtual bool try_search_groups(const float* /*queries*/, const int64_t* /*of*/, size_t /*n*/,
                                 const CollectionSearch& /*asked*/, size_t /*size*/,
                                 RowGroups& /*out*/) const noexcept {
    return false;
  }
  // Whether rows may have keys beside their numbers, which replies carry then.
  virtual bool keyed() const noexcept = 0;
  // The payloads of rows by their ids [n], -1 for none, and where it is keyed their keys. False where one is damaged.
  virtual bool try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept = 0;
};

// How many of the best by code get exact scores at least unless a search says otherwise. Measured on 116,033 MiniLM
// vectors, codes of 52 bytes: recall at k = 1, 10 and 100 is then within .003 of what more candidates give
// (docs/experiments/rescoring-candidates.md). Smaller codes of more rows want more, which collections measure.
inline constexpr size_t default_candidates(size_t k) { return 3 * k + 20; }
// And at most, unless k wants more.
inline constexpr size_t kMostByDefault = 4096;

// A collection of so few rows answers from kept vectors alone: every row gets its exact score. That of vectors of so
// few bytes takes about as long as a search by code (docs/experiments/rescoring-candidates.md).
inline constexpr size_t kExactRows = 2000, kMostExactRows = 10'000;
inline constexpr size_t kExactBytes = size_t{3} << 19;
inline constexpr bool scores_all(size_t rows, size_t row_bytes) {
  return rows <= kExactRows || (rows <= kMostExactRows && rows * row_bytes <= kExactBytes);
}

}  // namespace bebr
