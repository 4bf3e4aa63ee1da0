// Nearest lists in two levels, where there are too many to multiply a row with all of them: groups of near centroids,
// of which a row looks at the best few by their means, and then at every centroid in them. As the CPU's Centroids does
// it in float32, to the bit where rows rank by distance.
//
// A row's products with the means choose its groups; rows are sorted by group; and a block takes 128 rows that look at
// one group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/layer.h"
#include "cuda/memory.h"

namespace bebr::cuda {

inline constexpr uint32_t kGroupsLooked = 6;  // docs/experiments/many-centroids.md
inline constexpr uint32_t kNoGroup = ~0u;
inline constexpr uint32_t kRowsTogether = 128;  // that look at one group

// The best groups of each row, best first, by scores [rows, stride]; of equal ones the smaller number. counts: of rows
// that look at each group, at first 0.
struct ChooseArgs {
  uint32_t rows = 0, groups = 0, stride = 0;
  DevicePointer<const float> scores;
  DevicePointer<uint32_t> chosen, counts;  // kGroupsLooked a row, kNoGroup where there are fewer
};
void choose_groups(const ChooseArgs& args);

// Rows by group. begin, first_block: groups + 1 entries: of each group's visitors, and of blocks of kRowsTogether of
// these.
struct SortArgs {
  uint32_t visits = 0, groups = 0;
  DevicePointer<const uint32_t> counts, chosen;
  DevicePointer<uint32_t> begin, first_block, next, visitors;
};
void sort_by_group(const SortArgs& args);

// best[row]: the greatest of its key_of(score, list).
struct LookArgs {
  MatrixView x;
  LayerView centroids;  // group after group, each in whole tiles; the bias is -infinity where there is none
  uint32_t groups = 0, most_blocks = 0;
  DevicePointer<const uint32_t> first_tile, names;  // of each group, and the end; of each column
  DevicePointer<const uint32_t> begin, first_block, visitors;
  DevicePointer<unsigned long long> best;  // at first 0
};
void look_in_groups(const LookArgs& args);

class GroupedCentroids {
 public:
  // values: count rows of dim floats.
  GroupedCentroids(uint32_t dim, size_t count, const float* values);

  size_t groups() const noexcept { return members_.size(); }
  const std::vector<std::vector<uint32_t>>& members() const noexcept { return members_; }
  const std::vector<float>& means() const noexcept { return means_; }  // of each group
  size_t bytes_of_row() const noexcept;                                // that assigning takes
  // At most `batch` rows together, of which x are some.
  void assign(const MatrixView& x, uint32_t* lists) const;
  void reserve(size_t batch) const;

 private:
  struct Room {  // of a batch
    DeviceArray<float> scores;
    DeviceArray<uint32_t> chosen, visitors, counts, begin, first_block, next;
    DeviceArray<unsigned long long> best;
  };
  std::vector<std::vector<uint32_t>> members_;
  std::vector<float> means_;
  std::vector<DeviceLayer> layers_;  // of the means, and of the centroids
  DeviceArray<uint32_t> first_tile_, names_;
  mutable Room room_;
};

}  // namespace bebr::cuda
