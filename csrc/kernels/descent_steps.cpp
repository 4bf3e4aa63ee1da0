#include "kernels/descent_steps.h"

namespace bebr {

void portable_descent_follow(const float* row, float by, size_t stride, float* g) noexcept {
  for (size_t k = 0; k < stride; ++k) g[k] -= by * row[k];
}

float portable_descent_energy(const float* z, const float* v, const float* g, size_t dims) noexcept {
  float sums[16] = {};
  size_t j = 0;
  for (; j + 16 <= dims; j += 16) {
    for (size_t lane = 0; lane < 16; ++lane) sums[lane] += (z[j + lane] - v[j + lane]) * g[j + lane];
  }
  for (; j < dims; ++j) sums[j % 16] += (z[j] - v[j]) * g[j];
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

}  // namespace bebr
