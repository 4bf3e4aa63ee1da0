// Centroids of lists, and the nearest few of a vector: the coarse step of IVF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "index/ivf/rough_products.h"
#include "kernels/dense.h"

namespace bebr {

class Centroids {
 public:
  static constexpr size_t kMostDirect = 4096;  // more than this are searched through groups
  // values: count rows of dim floats. Rows rank by <x, c> - ||c||^2 / 2, the nearest first, or, by_product, by <x, c>.
  // More than most_direct of them are looked at through groups.
  Centroids(uint32_t dim, size_t count, const float* values, bool by_product, size_t most_direct = kMostDirect);
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
  // RoughProducts, and seldom the next nearest then.
  void assign(const float* x, size_t n, uint32_t* lists, bool roughly = false) const;

 private:
  // Vectors around centre_, and half of the squared norms of these.
  struct Around {
    RoughProducts products;
    std::vector<float> half_norms;
  };
  struct Group {
    Around centroids;
    std::vector<uint32_t> lists;  // what they are called
  };
  // Exactly, or by all_ if `roughly`; of few centroids.
  void rank_all(const float* x, size_t n, size_t nprobe, bool by_product, bool roughly, uint32_t* lists) const;
  // Scores of all centroids for `rows` rows, the half norms taken off unless by_product; out_stride apart.
  const float* score_all(const float* x, size_t rows, bool by_product, bool roughly) const;
  // The same of some centroids; x around centre_ unless by_product.
  const float* score(const Around& some, const float* x, size_t rows, bool by_product, Buffer& work) const;
  void rank_groups(const float* x, size_t n, size_t nprobe, uint32_t* lists) const;
  // The nearest list of rows through groups.
  void assign_by_groups(const float* x, size_t n, uint32_t* lists) const;
  void find_centre();
  Around around(const float* values, std::span<const uint32_t> which) const;  // the rows `which` of values
  const float* around_centre(const float* x, size_t rows, Buffer& work) const;
  void make_groups();

  uint32_t dim_;
  size_t count_;
  bool by_product_;
  std::vector<float> values_;
  // Rough products are taken around the centroids' mean, so that rounding is of the size of the differences, not of the
  // vectors (docs/experiments/bf16-centroids.md).
  std::vector<float> centre_;
  // Few centroids: queries rank all, roughly; exactly, with half_norms_ taken off, where the nearest alone is wanted.
  std::optional<Dense> exact_;
  std::vector<float> half_norms_;
  std::optional<Around> all_;
  // Many are searched through groups of near ones (near_groups.h): first the best groups by their means, then every
  // centroid in them.
  std::optional<Around> heads_;
  std::vector<Group> groups_;
};

}  // namespace bebr
