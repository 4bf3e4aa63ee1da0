// The specification of gemm and first_greatest. gemm: one row and one panel of 32 outputs at a time, in the order of
// the inputs.
#include <cassert>
#include <cmath>

#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr uint32_t kPanel = 32;

[[gnu::always_inline]] inline void gemm(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu,
                                        float* out, size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  const uint32_t panels = (w.out + kPanel - 1) / kPanel;
  for (size_t row = 0; row < rows; ++row) {
    for (uint32_t p = 0; p < panels; ++p) {
      const float* panel = w.f32 + size_t{p} * w.in * kPanel;
      float sums[kPanel];
      for (uint32_t o = 0; o < kPanel; ++o) sums[o] = w.bias[p * kPanel + o];
      for (uint32_t k = 0; k < w.in; ++k) {
        const float value = x[row * x_stride + k];
        for (uint32_t o = 0; o < kPanel; ++o) sums[o] = std::fma(value, panel[size_t{k} * kPanel + o], sums[o]);
      }
      for (uint32_t o = 0; o < kPanel; ++o)
        out[row * out_stride + p * kPanel + o] = relu && !(sums[o] > 0) ? 0 : sums[o];
    }
  }
}

void gemm_scalar(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
                 size_t out_stride) noexcept {
  gemm(x, rows, x_stride, w, relu, out, out_stride);
}

#if defined(__x86_64__)
// The same where std::fma is an instruction and not a call: three times as fast, and equal by definition.
[[gnu::target("fma")]] void gemm_scalar_fma(const float* x, size_t rows, size_t x_stride, const PackedWeights& w,
                                            bool relu, float* out, size_t out_stride) noexcept {
  gemm(x, rows, x_stride, w, relu, out, out_stride);
}
#endif

size_t first_greatest_scalar(const float* values, size_t n) noexcept {
  size_t best = 0;
  for (size_t i = 1; i < n; ++i)
    if (values[i] > values[best]) best = i;
  return best;
}

}  // namespace

void bind_scalar_gemm(Kernels& table) noexcept {
  table.gemm = gemm_scalar;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("fma") != 0) table.gemm = gemm_scalar_fma;
#endif
  table.first_greatest = first_greatest_scalar;
}

}  // namespace bebr
