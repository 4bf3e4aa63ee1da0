#include "binarizer/descent.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "binarizer/descent_grid.h"
#include "code/planes.h"

namespace bebr {
namespace {

constexpr int kMoved = 3;  // coordinates moved by a restart
// Vectors that go through all restarts before the next do: what these read and write stays in L1.
constexpr size_t kTogether = 4;

}  // namespace

Descent::Descent(const CodeSpec& spec, const float* gram, uint32_t sweeps, uint32_t tries)
    : spec_(spec),
      sweeps_(sweeps),
      tries_(tries),
      product_(Layer{gram, std::vector<float>(spec.dims()).data(), spec.dims(), spec.dims()}) {
  DescentNumbers numbers = descent_numbers(spec, gram);
  gram_ = std::move(numbers.gram);
  inverse_ = std::move(numbers.inverse);
  step_ = std::move(numbers.step);
  per_step_ = std::move(numbers.per_step);
}

void Descent::try_again(const Kernels& kernels, const DescentGrid& grid, const float* z, size_t rows, size_t z_stride,
                        float* v, float* g, float* trial) const {
  const size_t dims = grid.dims, stride = grid.stride, g_stride = product_.out_stride();
  float *trial_v = trial, *trial_g = trial_v + rows * stride, best[kTogether];
  for (size_t i = 0; i < rows; ++i)
    best[i] = kernels.descent_energy(z + i * z_stride, v + i * stride, g + i * g_stride, dims);
  // Every vector sees the same sequence, so that a code does not depend on what is encoded beside it.
  uint32_t random = 0x9e3779b9u;
  const auto next = [&random] {
    random ^= random << 13;
    random ^= random >> 17;
    return random ^= random << 5;
  };
  for (uint32_t t = 0; t < tries_; ++t) {
    std::copy_n(v, rows * stride, trial_v);
    std::copy_n(g, rows * g_stride, trial_g);
    for (int n = 0; n < kMoved; ++n) {
      const uint32_t number = next(), j = static_cast<uint32_t>((uint64_t{number >> 1} * dims) >> 31);
      const float largest = 2 - 0.5f * grid.step[j];
      for (size_t i = 0; i < rows; ++i) {
        float &moved = trial_v[i * stride + j], move = (number & 1) != 0 ? grid.step[j] : -grid.step[j];
        if (std::abs(moved + move) > largest) move = -move;
        moved += move;
        kernels.descent_follow(grid.gram + j * stride, move, stride, trial_g + i * g_stride);
      }
    }
    kernels.descend(grid, rows, trial_v, trial_g, g_stride, sweeps_);
    for (size_t i = 0; i < rows; ++i) {
      const float reached =
          kernels.descent_energy(z + i * z_stride, trial_v + i * stride, trial_g + i * g_stride, dims);
      if (reached < best[i]) {
        best[i] = reached;
        std::copy_n(trial_v + i * stride, stride, v + i * stride);
        std::copy_n(trial_g + i * g_stride, stride, g + i * g_stride);
      }
    }
  }
}

void Descent::improve(const Kernels& kernels, const float* z, size_t rows, size_t z_stride, Buffer (&work)[4],
                      uint8_t* planes) const {
  const size_t dims = spec_.dims(), stride = descent_stride(spec_.dims()), bytes = spec_.row_bytes();
  const size_t g_stride = product_.out_stride();
  float *v = floats(work[0], rows * stride), *error = floats(work[1], rows * dims),
        *g = floats(work[2], rows * g_stride);
  for (size_t i = 0; i < rows; ++i) {
    float* row = v + i * stride;
    unpack_row(spec_, planes + i * bytes, row);
    std::fill(row + dims, row + stride, 1.0f);
    for (size_t j = 0; j < dims; ++j) error[i * dims + j] = z[i * z_stride + j] - row[j];
  }
  product_.forward(kernels, error, rows, dims, false, false, g);
  const DescentGrid grid{spec_.dims(), stride, gram_.data(), inverse_.data(), step_.data(), per_step_.data()};
  float* trial = floats(work[3], kTogether * (stride + g_stride));
  for (size_t row = 0; row < rows; row += kTogether) {
    const size_t some = std::min(kTogether, rows - row);
    float *own_v = v + row * stride, *own_g = g + row * g_stride;
    kernels.descend(grid, some, own_v, own_g, g_stride, sweeps_);
    if (tries_ > 0) try_again(kernels, grid, z + row * z_stride, some, z_stride, own_v, own_g, trial);
  }
  for (size_t i = 0; i < rows; ++i) pack_row(spec_, v + i * stride, planes + i * bytes);
}

}  // namespace bebr
