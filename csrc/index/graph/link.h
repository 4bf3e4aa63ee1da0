// Choosing links: the distances of codes, and robust pruning.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/graph/record.h"
#include "index/graph/view.h"

namespace bebr {

// Documents as int8 vectors, for their distances from each other: ||x_a - x_b|| of reconstructions x = mu + A v (times
// the factor where it multiplies), taking the columns of A as orthogonal (docs/experiments/graph-pruning.md: what that
// costs). Then x is sqrt(gram) v + mean / sqrt(gram), and one more coordinate for the part of mu that no column
// reaches.
class Int8Vectors {
 public:
  // reach: the largest norm (of any vector, if norms are augmented).
  Int8Vectors(const RecordLayout& layout, Factor mode, const CodeSpace& space, float reach);

  size_t stride() const noexcept { return stride_; }
  float norm_of(const uint8_t* record) const;  // without the extra coordinate
  // What an int8 vector stands for: scale * entries, and the extra coordinate. norm: of all of it, squared.
  struct Measures {
    float scale, extra, norm;
  };
  // entries: stride() of them.
  Measures make(const uint8_t* record, int8_t* entries) const;

  // Keeps the vectors of slots 0 .. rows - 1: a batch reads every row hundreds of times.
  void keep_all(const GraphView& view);
  bool kept() const noexcept { return !measures_.empty(); }
  const int8_t* entries() const noexcept { return entries_.as<int8_t>(); }
  const Measures& measures(uint32_t slot) const noexcept { return measures_[slot]; }

 private:
  const RecordLayout& layout_;
  const Factor mode_;
  size_t stride_;
  std::vector<float> root_, shift_;  // sqrt(gram), mean / sqrt(gram)
  float outside_, reach_;
  void decode(const uint8_t* record, std::vector<float>& v) const;
  Buffer entries_;
  std::vector<Measures> measures_;
};

// The document in `slot` as a query of the walk: y, dims floats. Returns its base.
float document_as_query(const GraphView& view, const CodeSpace& space, uint32_t slot, std::vector<float>& y);

// One thread's memory for linking.
class Linker {
 public:
  Linker(const GraphView& view, const CodeSpace& space, const Int8Vectors& vectors)
      : view_(view), space_(space), vectors_(vectors) {}
  static constexpr float kAlpha = 1.15f;  // of squared distances
  // Links to rows of the same code on each side, by slots: no more than a degree of 2 has.
  static size_t most_duplicates(size_t degree) { return std::max<size_t>(1, degree / 8); }

  // The document in `slot` as a query of the walk.
  void as_query(uint32_t slot, BitQuery& query);
  // Robust pruning of the candidates for links of `slot`: the nearest is kept, and every candidate that is kAlpha times
  // nearer to it than to `slot` is dropped; then the next, up to `degree`. Of candidates with the code of `slot` itself
  // the next slots on both sides are kept, so that all rows of one code hang together: others link to one of them.
  // nodes: in any order, `slot` not among them; afterwards the kept ones, nearest first.
  void prune(uint32_t slot, std::vector<uint32_t>& nodes, size_t degree);

 private:
  struct Near {
    float distance;
    uint32_t at;  // in the list of candidates
  };
  void gather(std::span<const uint32_t> nodes);
  size_t keep_duplicates(uint32_t slot, std::span<const uint32_t> nodes, size_t degree);
  void measure(uint32_t from, std::span<const uint32_t> to);

  const GraphView view_;
  const CodeSpace& space_;
  const Int8Vectors& vectors_;
  std::vector<float> v_;
  std::vector<Int8Vectors::Measures> measures_;
  Buffer entries_;
  const int8_t* data_ = nullptr;
  std::vector<uint32_t> rows_, picked_;  // rows of data_ for each candidate
  std::vector<int32_t> dots_;
  std::vector<float> distances_;
  std::vector<Near> near_;
  std::vector<uint32_t> rest_, kept_, same_;
  std::vector<float> own_;  // distance of each candidate from the node itself
};

}  // namespace bebr
