// What restarts of a descent need beside it (Kernels::descent_follow, descent_energy), as portable loops that every
// compiler turns into SIMD: the specification, and all that instruction sets of 128 bits need.
#pragma once

#include <cstddef>

namespace bebr {

void portable_descent_follow(const float* row, float by, size_t stride, float* g) noexcept;
float portable_descent_energy(const float* z, const float* v, const float* g, size_t dims) noexcept;

}  // namespace bebr
