// Groups of near centroids, through which many of them are searched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bebr {

struct NearGroups {
  std::vector<std::vector<uint32_t>> members;  // of each group, in ascending order; none is empty
  std::vector<float> means;                    // a row of dim a group
};

// values: `count` rows of dim. About 4 sqrt(count) groups, the same every time: k-means into sqrt(count) from evenly
// spaced rows, then of each of these into four, which costs next to nothing.
NearGroups near_groups(const float* values, size_t count, uint32_t dim);

}  // namespace bebr
