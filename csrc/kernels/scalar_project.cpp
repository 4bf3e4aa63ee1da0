// The specification of project: one row and one panel of 32 outputs at a time, in the order of the pairs. Sums are
// whole numbers, so the order changes nothing.
#include <cassert>

#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr size_t kPanel = 32;

void project_scalar(const int16_t* x, size_t rows, size_t x_stride, const float* by, const PackedProjection& w,
                    float* out, size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  const size_t panels = (w.out + kPanel - 1) / kPanel, pairs = (size_t{w.in} + 1) / 2;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t p = 0; p < panels; ++p) {
      int32_t sums[kPanel] = {};
      for (size_t k = 0; k < pairs; ++k) {
        const int16_t *pair = x + row * x_stride + 2 * k, *weights = w.pairs + (p * pairs + k) * 2 * kPanel;
        for (size_t o = 0; o < kPanel; ++o) sums[o] += pair[0] * weights[2 * o] + pair[1] * weights[2 * o + 1];
      }
      for (size_t o = 0; o < kPanel; ++o)
        out[row * out_stride + p * kPanel + o] = static_cast<float>(sums[o]) * w.scale[p * kPanel + o] * by[row];
    }
  }
}

}  // namespace

void bind_scalar_project(Kernels& table) noexcept { table.project = project_scalar; }

}  // namespace bebr
