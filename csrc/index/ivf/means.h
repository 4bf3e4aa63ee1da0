// The mean of the rows of each list: a step of k-means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bebr {

// x: lists.size() rows of dim floats; lists: the list of each row, below sizes.size(). sizes: rows of each list; means:
// sizes.size() rows of dim, summed in double. A list without rows keeps what stands there.
void list_means(const float* x, uint32_t dim, std::span<const uint32_t> lists, std::span<size_t> sizes, float* means);

}  // namespace bebr
