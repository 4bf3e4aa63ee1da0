#include "binarizer/descent.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "binarizer/planes.h"

namespace bebr {

Descent::Descent(const CodeSpec& spec, const float* gram, uint32_t sweeps)
    : spec_(spec),
      sweeps_(sweeps),
      product_(Layer{gram, std::vector<float>(spec.dims()).data(), spec.dims(), spec.dims()}) {
  const size_t dims = spec.dims(), stride = descent_stride(spec.dims());
  gram_.resize(dims * stride);
  inverse_.resize(stride);
  step_.assign(stride, 2.0f);
  per_step_.assign(stride, 0.5f);
  for (size_t j = 0; j < dims; ++j) {
    const float own = gram[j * dims + j];
    if (!(own > 0) || !std::isfinite(1 / own))
      fail(Code::InvalidArgument,
           "gram[" + std::to_string(j) + ", " + std::to_string(j) + "] is " + std::to_string(own) + ": want > 0");
    std::copy_n(gram + j * dims, dims, gram_.begin() + static_cast<ptrdiff_t>(j * stride));
    inverse_[j] = 1 / own;
    step_[j] = std::ldexp(4.0f, -static_cast<int>(spec.depth(static_cast<uint32_t>(j))));
    per_step_[j] = 1 / step_[j];
  }
}

void Descent::improve(const Kernels& kernels, const float* z, size_t rows, size_t z_stride, Buffer (&work)[3],
                      uint8_t* planes) const {
  const size_t dims = spec_.dims(), stride = descent_stride(spec_.dims()), bytes = spec_.row_bytes();
  float *v = floats(work[0], rows * stride), *error = floats(work[1], rows * dims),
        *g = floats(work[2], rows * product_.out_stride());
  for (size_t i = 0; i < rows; ++i) {
    float* row = v + i * stride;
    expand_row(spec_, planes + i * bytes, row);
    std::fill(row + dims, row + stride, 1.0f);
    for (size_t j = 0; j < dims; ++j) error[i * dims + j] = z[i * z_stride + j] - row[j];
  }
  product_.forward(kernels, error, rows, dims, false, false, g);
  const DescentGrid grid{spec_.dims(), stride, gram_.data(), inverse_.data(), step_.data(), per_step_.data()};
  for (size_t i = 0; i < rows; ++i) {
    kernels.descend(grid, v + i * stride, g + i * product_.out_stride(), sweeps_);
    pack_row(spec_, v + i * stride, planes + i * bytes);
  }
}

}  // namespace bebr
