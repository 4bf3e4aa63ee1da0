#include "index/ivf/rough_products.h"

#include <vector>

#include "kernels/kernels.h"

namespace bebr {

RoughProducts::RoughProducts(const float* rows, size_t count, uint32_t dim) : count_(count), dim_(dim) {
  if (kernels().gemm_bf16 == nullptr) {
    integers_.emplace(rows, dim, static_cast<uint32_t>(count));
    return;
  }
  const std::vector<float> nothing(count);
  bf16_.emplace(Layer{rows, nothing.data(), dim, static_cast<uint32_t>(count)});
  bf16_->keep_bf16_only();
}

void RoughProducts::forward(const float* x, size_t n, float* out) const {
  if (bf16_)
    bf16_->forward(kernels(), x, n, dim_, false, true, out);
  else
    integers_->forward(kernels(), x, n, out, out_stride());
}

}  // namespace bebr
