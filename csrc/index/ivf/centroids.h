// Centroids of lists, and the nearest few of a vector: the coarse step of IVF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/dense.h"

namespace bebr {

class Centroids {
 public:
  static constexpr size_t kMostDirect = 4096;  // more than this are searched through groups
  // values: count rows of dim floats. Rows rank by <x, c> - ||c||^2 / 2, the nearest first, or, by_product, by <x, c>.
  Centroids(uint32_t dim, size_t count, const float* values, bool by_product);
  // The one object of these values, as long as somebody has it: files that were written to the same lists share it, and
  // what a search ranks by it.
  static std::shared_ptr<const Centroids> shared(uint32_t dim, size_t count, const float* values, bool by_product);

  uint32_t dim() const noexcept { return dim_; }
  size_t size() const noexcept { return count_; }
  bool by_product() const noexcept { return by_product_; }
  std::span<const float> values() const noexcept { return values_; }

  // x: n rows. lists: the `nprobe` best of each (at most size()), best first, nprobe apart; equal: the smaller number.
  void nearest(const float* x, size_t n, size_t nprobe, uint32_t* lists) const;
  // The nearest list of each row, by distance even where by_product: where a row belongs. On all threads. `roughly`: by
  // bf16 where that is fast, and seldom the next nearest then.
  void assign(const float* x, size_t n, uint32_t* lists, bool roughly = false) const;

 private:
  // One Dense over some centroids, and what they are called.
  struct Group {
    Dense weights;
    std::vector<uint32_t> lists;  // empty: 0, 1, 2, ..
    std::optional<Dense> rough;   // with half norms taken off: what rows are assigned by
  };
  // By rough_ if `roughly` and there is one for that ranking.
  void rank_all(const float* x, size_t n, size_t nprobe, bool by_product, bool roughly, uint32_t* lists) const;
  // Scores of all centroids for `rows` rows, the half norms taken off unless by_product; out_stride apart.
  const float* score_all(const float* x, size_t rows, bool by_product, bool roughly) const;
  void find_centre();
  // The rows `which` of values around centre_, as rough_ and Group::rough hold them.
  Dense made_rough(const float* values, std::span<const uint32_t> which, bool by_product) const;
  const float* around_centre(const float* x, size_t rows, Buffer& work) const;
  void rank_groups(const float* x, size_t n, size_t nprobe, uint32_t* lists) const;
  void make_groups();
  // The nearest list of rows through groups, by bf16 where it is fast.
  void assign_by_groups(const float* x, size_t n, uint32_t* lists) const;

  uint32_t dim_;
  size_t count_;
  bool by_product_;
  std::vector<float> values_, half_norms_;
  // Many centroids are searched through groups of near ones (near_groups.h): first the best groups, then every centroid
  // in them. Otherwise one group holds all.
  std::vector<Group> groups_;
  // Where bf16 is fast, queries rank a single group by it, and rows are assigned through groups by it. Products are
  // taken around the centroids' mean, so that rounding is of the size of the differences, not of the vectors
  // (docs/experiments/bf16-centroids.md).
  std::optional<Dense> rough_;
  std::vector<float> centre_;
  std::optional<Dense> heads_, rough_heads_;  // the groups' means; none: a single group
};

}  // namespace bebr
