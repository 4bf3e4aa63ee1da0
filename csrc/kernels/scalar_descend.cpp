// The specification of descend.
#include <cmath>

#include "kernels/descent_steps.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

void descend_one_scalar(const DescentGrid& grid, float* v, float* g, uint32_t sweeps) noexcept {
  for (uint32_t sweep = 0; sweep < sweeps; ++sweep) {
    bool changed = false;
    for (uint32_t j = 0; j < grid.dims; ++j) {
      const float target = v[j] + g[j] * grid.inverse[j];
      const float most = 2 * grid.per_step[j];
      float i = std::floor(target * grid.per_step[j]);
      i = i > -most ? i : -most;
      i = i < most - 1 ? i : most - 1;
      const float nearest = i * grid.step[j] + 0.5f * grid.step[j];
      if (nearest == v[j]) continue;
      const float move = nearest - v[j];
      v[j] = nearest;
      const float* row = grid.gram + j * grid.stride;
      for (size_t k = 0; k < grid.stride; ++k) g[k] = g[k] - move * row[k];
      changed = true;
    }
    if (!changed) return;
  }
}

void descend_scalar(const DescentGrid& grid, size_t count, float* v, float* g, size_t g_stride,
                    uint32_t sweeps) noexcept {
  for (size_t i = 0; i < count; ++i) descend_one_scalar(grid, v + i * grid.stride, g + i * g_stride, sweeps);
}

}  // namespace

void bind_scalar_descend(Kernels& table) noexcept {
  table.descend = descend_scalar;
  table.descent_follow = portable_descent_follow;
  table.descent_energy = portable_descent_energy;
}

}  // namespace bebr
