// descend and its restarts: every bundle equals the specification to the bit; the specification ends where no single
// step helps.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "code/spec.h"

namespace bebr::test {
namespace {

// A random positive definite metric over a grid of mixed depths, with rows of v on the grid and g as they may come.
struct Case {
  Case(uint32_t dims, size_t rows, Random& random)
      : dims(dims),
        rows(rows),
        stride(descent_stride(dims)),
        g_stride(stride + 5),
        gram(dims * stride),
        inverse(stride),
        step(stride),
        per_step(stride),
        v(rows * stride),
        g(rows * g_stride) {
    std::normal_distribution<float> normal;
    std::vector<float> factor(size_t{dims} * dims);
    for (float& value : factor) value = normal(random);
    for (uint32_t j = 0; j < stride; ++j) {
      const int depth = j < dims ? 1 + static_cast<int>((dims - j) * 4 / (dims + 1)) : 1;
      step[j] = std::ldexp(4.0f, -depth);
      per_step[j] = 1 / step[j];
    }
    std::fill_n(g.data(), g.size(), 777.0f);  // between the rows: not to be touched
    for (size_t i = 0; i < rows; ++i) {
      for (uint32_t j = 0; j < stride; ++j) {
        float& value = v[i * stride + j];
        value = j < dims ? (std::floor(normal(random) * 0.4f * per_step[j]) + 0.5f) * step[j] : 1;
        value = std::min(std::max(value, step[j] / 2 - 2), 2 - step[j] / 2);
        g[i * g_stride + j] = j < dims ? normal(random) * static_cast<float>(dims) : 0;
      }
    }
    for (uint32_t j = 0; j < dims; ++j) {
      for (uint32_t k = 0; k < dims; ++k) {
        float sum = j == k ? 1.0f : 0.0f;
        for (uint32_t i = 0; i < dims; ++i) sum += factor[j * dims + i] * factor[k * dims + i];
        gram[j * stride + k] = sum;
      }
      inverse[j] = 1 / gram[j * stride + j];
    }
  }
  DescentGrid grid() const { return {dims, stride, gram.data(), inverse.data(), step.data(), per_step.data()}; }

  uint32_t dims;
  size_t rows, stride, g_stride;
  Exact<float> gram, inverse, step, per_step, v, g;
};

BEBR_KERNEL_TEST(descend_equals_scalar) {
  Random random(1);
  for (const uint32_t dims : {8u, 16u, 24u, 40u, 104u, 200u}) {
    for (const uint32_t sweeps : {0u, 1u, 2u, 20u}) {
      for (const size_t rows : {size_t{0}, size_t{1}, size_t{4}, size_t{7}}) {
        Case a(dims, rows, random);
        Exact<float> v(a.v.size()), g(a.g.size());
        std::copy_n(a.v.data(), a.v.size(), v.data());
        std::copy_n(a.g.data(), a.g.size(), g.data());
        kernels(Isa::Scalar).descend(a.grid(), rows, a.v.data(), a.g.data(), a.g_stride, sweeps);
        tested.descend(a.grid(), rows, v.data(), g.data(), a.g_stride, sweeps);
        CHECK_SAME(v.data(), a.v.data(), v.size(), "v, dims " << dims << " sweeps " << sweeps << " rows " << rows);
        CHECK_SAME(g.data(), a.g.data(), g.size(), "g, dims " << dims << " sweeps " << sweeps << " rows " << rows);
      }
    }
  }
}

BEBR_KERNEL_TEST(restarts_equal_scalar) {
  Random random(3);
  for (const uint32_t dims : {8u, 16u, 40u, 200u, 224u}) {
    Case a(dims, 1, random);
    Exact<float> z(dims), v(dims), g(a.stride), row(a.stride);  // no entry beyond is there to be read
    for (size_t j = 0; j < dims; ++j) z[j] = std::normal_distribution<float>()(random);
    std::copy_n(a.v.data(), dims, v.data());
    std::copy_n(a.g.data(), a.stride, g.data());
    std::copy_n(a.gram.data(), a.stride, row.data());
    const float same = kernels(Isa::Scalar).descent_energy(z.data(), v.data(), a.g.data(), dims);
    const float energy = tested.descent_energy(z.data(), v.data(), g.data(), dims);
    CHECK_SAME(&energy, &same, 1, "energy, dims " << dims);
    kernels(Isa::Scalar).descent_follow(a.gram.data(), 0.7f, a.stride, a.g.data());
    tested.descent_follow(row.data(), 0.7f, a.stride, g.data());
    CHECK_SAME(g.data(), a.g.data(), a.stride, "g, dims " << dims);
  }
}

BEBR_TEST(descend_ends_where_no_single_step_helps) {
  Random random(2);
  for (const uint32_t dims : {8u, 40u, 72u}) {
    Case a(dims, 1, random);
    kernels(Isa::Scalar).descend(a.grid(), 1, a.v.data(), a.g.data(), a.g_stride, 200);
    for (uint32_t j = 0; j < dims; ++j) {
      const float own = a.gram[j * a.stride + j], step = a.step[j];
      CHECK(std::abs(a.v[j]) <= 2 - step / 2, "dim " << j << " left the grid: " << a.v[j]);
      for (const float move : {step, -step}) {
        if (std::abs(a.v[j] + move) > 2 - step / 2) continue;
        const float change = move * move * own - 2 * a.g[j] * move;  // of (z - v)^T G (z - v)
        CHECK(change >= -1e-3f * own, "dim " << j << " would gain " << change << " by moving " << move);
      }
    }
  }
}

}  // namespace
}  // namespace bebr::test
