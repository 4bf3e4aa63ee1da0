// Products of vectors with rows that need not be exact: by bf16 where that is fast (AMX), elsewhere by 16-bit integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/dense.h"
#include "kernels/projection.h"

namespace bebr {

class RoughProducts {
 public:
  // rows [count, dim].
  RoughProducts(const float* rows, size_t count, uint32_t dim);

  size_t out_stride() const noexcept { return round_up(count_, 32); }

  // x [n, dim] -> out, rows out_stride() floats apart.
  void forward(const float* x, size_t n, float* out) const;

 private:
  size_t count_;
  uint32_t dim_;
  std::optional<Dense> bf16_;
  std::optional<Projection> integers_;
};

}  // namespace bebr
