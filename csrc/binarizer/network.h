// Stacks of affine layers with ReLU between them, packed once for gemm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "kernels/dense.h"

namespace bebr {

// ||x||^2 of n floats, in 16 partial sums.
inline double squared_length(const float* x, size_t n) {
  float sums[16] = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (size_t lane = 0; lane < 16; ++lane) sums[lane] += x[i + lane] * x[i + lane];
  }
  double total = 0;
  for (const float sum : sums) total += double{sum};
  for (; i < n; ++i) total += double{x[i]} * double{x[i]};
  return total;
}

// Sums of squares between these lose nothing in float: squares that leave its range are too small to count. Others are
// summed of scaled values, or in double.
inline constexpr float kLeastSquares = 0x1p-100F, kMostSquares = 3.4028234663852886e38F;

inline bool squares_fit(double sum) { return sum >= double{kLeastSquares} && sum <= double{kMostSquares}; }

// Rows of floats, `stride` floats apart.
struct FloatRows {
  float* data = nullptr;
  size_t stride = 0;
  float* row(size_t i) const noexcept { return data + i * stride; }
};

class Network {
 public:
  // Throws Error(InvalidArgument), naming the network, when the layers do not fit one another.
  Network(const std::vector<Layer>& layers, const char* name);

  uint32_t in() const noexcept { return layers_.front().in(); }
  uint32_t out() const noexcept { return layers_.back().out(); }

  // The last layer's rows, in one of the two work buffers; valid until the next call with them.
  FloatRows forward(const Kernels& kernels, const float* x, size_t rows, size_t x_stride, bool bf16,
                    Buffer (&work)[2]) const;
  // x [n, in] -> out [n, out()], on the threads of base/threads.h.
  void forward_all(const float* x, size_t n, float* out) const;
  void pack_bf16();

 private:
  std::vector<Dense> layers_;
};

}  // namespace bebr
