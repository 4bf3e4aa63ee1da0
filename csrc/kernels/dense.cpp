#include "kernels/dense.h"

#include <bit>

namespace bebr {
namespace {

constexpr size_t kPanel = 32;  // PackedWeights

uint16_t nearest_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

Dense::Dense(const Layer& layer) : in_(layer.in), out_(layer.out) {
  const size_t padded = out_stride();
  f32_.resize(padded * in_ * sizeof(float));
  bias_.resize(padded * sizeof(float));
  for (size_t o = 0; o < out_; ++o) {
    bias_.as<float>()[o] = layer.bias[o];
    float* column = f32_.as<float>() + o / kPanel * in_ * kPanel + o % kPanel;
    for (size_t k = 0; k < in_; ++k) column[k * kPanel] = layer.weight[o * in_ + k];
  }
}

void Dense::pack_bf16() {
  const size_t pairs = (size_t{in_} + 1) / 2, panels = out_stride() / kPanel;
  bf16_.resize(panels * pairs * kPanel * 2 * sizeof(uint16_t));
  for (size_t p = 0; p < panels; ++p) {
    for (size_t k = 0; k < in_; ++k) {
      const float* from = f32_.as<float>() + (p * in_ + k) * kPanel;
      uint16_t* to = bf16_.as<uint16_t>() + (p * pairs + k / 2) * kPanel * 2 + k % 2;
      for (size_t o = 0; o < kPanel; ++o) to[o * 2] = nearest_bf16(from[o]);
    }
  }
}

void Dense::keep_bf16_only() {
  pack_bf16();
  f32_ = Buffer();
}

void Dense::forward(const Kernels& kernels, const float* x, size_t rows, size_t x_stride, bool relu, bool bf16,
                    float* out) const {
  const PackedWeights weights{in_, out_, f32_.as<float>(), bf16 ? bf16_.as<uint16_t>() : nullptr, bias_.as<float>()};
  (bf16 ? kernels.gemm_bf16 : kernels.gemm)(x, rows, x_stride, weights, relu, out, out_stride());
}

}  // namespace bebr
