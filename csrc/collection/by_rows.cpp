// Searches of a snapshot for the rows that are most like others of it.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "collection/places.h"

namespace bebr {

void CollectionSnapshot::search_rows(const CodeReading& reading, const int64_t* of, size_t n,
                                     const CollectionSearch& asked, float* scores, int64_t* ids) const {
  const std::vector<float> all = vectors_of(of, n);
  const size_t dim = model_->inner_dim(), k = asked.k;
  const auto vectors = [&](size_t first, size_t count, bool) {
    return std::vector<float>(all.data() + first * dim, all.data() + (first + count) * dim);
  };
  CollectionSearch deeper = asked;
  deeper.coded = false;
  deeper.k = k + 1;
  if (asked.rescore.value_or(0) > 0) deeper.rescore = *asked.rescore + 1;
  std::vector<float> found(n * deeper.k);
  std::vector<int64_t> found_ids(n * deeper.k);
  search_all(reading, vectors, n, deeper, found.data(), found_ids.data());
  for (size_t i = 0; i < n; ++i) {
    // Itself is among the results, or was not allowed, or a twin with a smaller id was last in its place.
    const int64_t* const first = found_ids.data() + i * deeper.k;
    const auto before = static_cast<size_t>(std::find(first, first + k, of[i]) - first);
    const auto copy = [&](const auto* from, auto* to) {
      std::copy_n(from + i * deeper.k, before, to + i * k);
      std::copy_n(from + i * deeper.k + before + 1, k - before, to + i * k + before);
    };
    copy(found.data(), scores);
    copy(found_ids.data(), ids);
  }
}

// The kept vectors of rows, or what their codes stand for, in the model's space.
std::vector<float> CollectionSnapshot::vectors_of(const int64_t* of, size_t n) const {
  const std::vector<Place> found = places(parts_, {of, n});
  if (found.size() != n) fail(ErrorCode::UnknownId, "a row to search with is not there, or has no vector");
  const size_t dim = model_->inner_dim();
  std::vector<float> made(n * dim);
  if (settings_.kept) {
    const size_t stride = settings_.kept->stride();
    for (const Place& place : found) {
      const KeptRows& kept = parts_[place.part]->kept;
      uint32_t row = place.row;
      if (kept.apart != nullptr && !kept.apart->find(place.id, row))
        fail(ErrorCode::UnknownId, "a vector is not there");
      load_raw(*settings_.kept, 1, kept.blocks[row / kept.block_rows] + row % kept.block_rows * stride,
               made.data() + place.at * dim);
    }
    if (model_->metric() == Metric::Cosine) normalize_rows(made.data(), n, dim);
    return made;
  }
  std::vector<uint8_t> planes(n * model_->spec().row_bytes());
  for (const Place& place : found) {
    const Rows copied = parts_[place.part]->reader->copy_rows({&place.row, 1});
    std::copy(copied.planes.begin(), copied.planes.end(),
              planes.begin() + static_cast<std::ptrdiff_t>(place.at * model_->spec().row_bytes()));
  }
  model_->reconstruct(planes.data(), n, made.data());
  return made;
}

}  // namespace bebr
