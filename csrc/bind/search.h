// What searches take from Python and give back, for the files of the binding that offer one.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "binarizer/queries.h"
#include "bind/arrays.h"
#include "index/index.h"

namespace bebr {

using PyFloats = std::optional<Array<float>>;
using PyIds = std::optional<Array<int64_t>>;

// A batch in code space; the arrays are kept.
struct PyQueries {
  Array<float> y, base;
  PyFloats stage_y, stage_base, vectors;

  py::ssize_t count() const { return y.ndim() == 2 ? y.shape(0) : 0; }
  // Throws Error(InvalidArgument) for a shape that does not fit the index.
  Queries view(const Index& index) const;
};

// Set from any thread; a search that was given it ends with Error(Cancelled). work: what those searches did.
struct StopFlag {
  std::atomic<bool> set{false};
  SearchWork work;
};

// With what its pointers look at.
struct PyOptions {
  SearchOptions options;
  PyFloats min_scores;
  std::shared_ptr<StopFlag> stop;

  SearchOptions of(const Queries& queries) const;
};

// bind/search.cpp, for bind/index.cpp.
py::tuple search_index(const Index& index, const PyQueries& queries, const PyOptions& options, const PyIds& allow);
// Queries as they are given, x [n, query_dim], finite; scores are in the metric's own unit.
py::tuple search_given(const Index& index, const QueryModel& model, const Array<float>& x, bool coded,
                       const PyOptions& options, const PyIds& allow);
py::tuple range_of_index(const Index& index, const PyQueries& queries, const PyOptions& options, const PyIds& allow);
// dead, rows: bitmaps by position, of an index from which none were removed.
py::object looked_at(const Index& index, const PyQueries& queries, const PyOptions& options, const PyIds& allow,
                     const std::optional<Array<uint64_t>>& dead, const std::optional<Array<uint64_t>>& rows);
bool by_whole_codes(const Index& index, size_t queries, const PyOptions& options, bool filtered);

inline AllowedIds ids_of(const PyIds& ids) {
  if (!ids) return std::nullopt;
  expect_shape(*ids, "allow", {-1});
  return std::span<const int64_t>(ids->data(), static_cast<size_t>(ids->size()));
}

}  // namespace bebr
