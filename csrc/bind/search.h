// What searches take from Python and give back, for the files of the binding that offer one.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "bind/arrays.h"
#include "index/options.h"
#include "index/query_batch.h"
#include "index/topk.h"

namespace bebr {

// A batch in code space; the arrays are kept.
struct PyQueries {
  Array<float> y, base;
  std::optional<Array<float>> stage_y, stage_base, vectors;

  // Throws Error(InvalidArgument) for a shape that does not fit codes of `spec`.
  Queries view(const CodeSpec& spec) const {
    const auto dims = static_cast<py::ssize_t>(spec.dims());
    expect_shape(y, "y", {-1, dims});
    const py::ssize_t n = y.shape(0);
    expect_shape(base, "base", {n});
    Queries queries{static_cast<size_t>(n), y.data(), base.data(), nullptr, nullptr, nullptr};
    if (stage_y && stage_base) {
      expect_shape(*stage_y, "stage_y", {n, dims});
      expect_shape(*stage_base, "stage_base", {n});
      queries.stage_y = stage_y->data();
      queries.stage_base = stage_base->data();
    }
    return queries;
  }
};

// Set from any thread; a search that was given it ends with Error(Cancelled).
struct StopFlag {
  std::atomic<bool> set{false};
};

using PyIds = std::optional<Array<int64_t>>;
using PyFloats = std::optional<Array<float>>;

inline std::optional<std::span<const int64_t>> ids_of(const PyIds& ids) {
  if (!ids) return std::nullopt;
  expect_shape(*ids, "allow", {-1});
  return std::span<const int64_t>(ids->data(), static_cast<size_t>(ids->size()));
}

inline const float* min_scores_of(const PyFloats& values, size_t queries) {
  if (!values) return nullptr;
  expect_shape(*values, "min_scores", {static_cast<py::ssize_t>(queries)});
  return values->data();
}

inline SearchOptions options_of(size_t k, size_t survivors, bool exact, bool batch_invariant,
                                const PyFloats& min_scores, const StopFlag* stop, size_t queries) {
  SearchOptions options;
  options.k = k;
  options.survivors = survivors;
  options.exact = exact;
  options.batch_invariant = batch_invariant;
  options.min_scores = min_scores_of(min_scores, queries);
  options.stop = stop != nullptr ? &stop->set : nullptr;
  return options;
}

// run(batch, tops) without the GIL; (scores, ids) of what it finds, n rows of k.
template <typename Run>
py::tuple found_by(const Queries& queries, const CodeSpec& spec, size_t k, const float* min_scores, const Run& run) {
  const auto n = static_cast<py::ssize_t>(queries.count), width = static_cast<py::ssize_t>(k);
  py::array_t<float> scores({n, width});
  py::array_t<int64_t> ids({n, width});
  float* scores_out = scores.mutable_data();
  int64_t* ids_out = ids.mutable_data();
  {
    py::gil_scoped_release release;
    QueryBatch batch(spec, queries);
    TopKBatch tops(queries.count, k, min_scores);
    run(batch, tops);
    tops.write(scores_out, ids_out);
  }
  return py::make_tuple(scores, ids);
}

}  // namespace bebr
