#include "index/ivf/means.h"

#include <algorithm>
#include <vector>

namespace bebr {

void list_means(const float* x, uint32_t dim, std::span<const uint32_t> lists, std::span<size_t> sizes, float* means) {
  std::vector<double> sums(sizes.size() * dim);
  std::fill(sizes.begin(), sizes.end(), size_t{0});
  for (size_t i = 0; i < lists.size(); ++i) {
    ++sizes[lists[i]];
    double* sum = sums.data() + size_t{lists[i]} * dim;
    for (uint32_t j = 0; j < dim; ++j) sum[j] += double{x[i * dim + j]};
  }
  for (size_t l = 0; l < sizes.size(); ++l)
    for (uint32_t j = 0; sizes[l] > 0 && j < dim; ++j)
      means[l * dim + j] = static_cast<float>(sums[l * dim + j] / static_cast<double>(sizes[l]));
}

}  // namespace bebr
