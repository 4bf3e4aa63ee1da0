#include "binarizer/network.h"

#include <algorithm>
#include <bit>
#include <string>

#include "base/error.h"
#include "base/threads.h"

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

void Dense::forward(const Kernels& kernels, const float* x, size_t rows, size_t x_stride, bool relu, bool bf16,
                    float* out) const {
  const PackedWeights weights{in_, out_, f32_.as<float>(), bf16 ? bf16_.as<uint16_t>() : nullptr, bias_.as<float>()};
  (bf16 ? kernels.gemm_bf16 : kernels.gemm)(x, rows, x_stride, weights, relu, out, out_stride());
}

Network::Network(const std::vector<Layer>& layers, const char* name) {
  if (layers.empty()) fail(Code::InvalidArgument, std::string(name) + " has no layers: want at least one");
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string at = std::string(name) + "." + std::to_string(i);
    if (layers[i].in == 0 || layers[i].out == 0) fail(Code::InvalidArgument, at + ".weight is empty");
    if (i > 0 && layers[i].in != layers[i - 1].out)
      fail(Code::InvalidArgument, at + ".weight takes " + std::to_string(layers[i].in) + " inputs: want " +
                                      std::to_string(layers[i - 1].out) + ", the outputs of the layer before it");
    layers_.emplace_back(layers[i]);
  }
}

FloatRows Network::forward(const Kernels& kernels, const float* x, size_t rows, size_t x_stride, bool bf16,
                           Buffer (&work)[2]) const {
  FloatRows out;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Dense& layer = layers_[i];
    out = {floats(work[i % 2], rows * layer.out_stride()), layer.out_stride()};
    layer.forward(kernels, x, rows, x_stride, i + 1 < layers_.size(), bf16, out.data);
    x = out.data;
    x_stride = out.stride;
  }
  return out;
}

void Network::forward_all(const float* x, size_t n, float* out) const {
  constexpr size_t kChunk = 96;  // as the encoder's
  parallel_for(n, kChunk / 4, [&](size_t begin, size_t end) {
    static thread_local Buffer work[2];
    for (size_t row = begin; row < end; row += kChunk) {
      const size_t rows = std::min(kChunk, end - row);
      const FloatRows result = forward(kernels(), x + row * in(), rows, in(), false, work);
      for (size_t i = 0; i < rows; ++i) std::copy_n(result.row(i), this->out(), out + (row + i) * this->out());
    }
  });
}

void Network::pack_bf16() {
  for (Dense& layer : layers_) layer.pack_bf16();
}

}  // namespace bebr
