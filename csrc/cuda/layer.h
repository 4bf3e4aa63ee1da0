// Weights of a layer on a device, and rows of floats that go through it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/memory.h"
#include "kernels/dense.h"

namespace bebr::cuda {

inline constexpr uint32_t kTileColumns = 128;  // of a layer's outputs, which a block of threads multiplies with

// What a kernel sees of a layer: `in` rows of `columns` weights, zero beyond the outputs; as many biases.
struct LayerView {
  DevicePointer<const float> weights, bias;
  uint32_t in = 0, columns = 0;
};

// Rows of floats, `stride` apart.
struct MatrixView {
  DevicePointer<const float> values;
  uint32_t rows = 0, stride = 0;
};

class DeviceLayer {
 public:
  explicit DeviceLayer(const Layer& layer);  // its bias may be null: none

  uint32_t in() const noexcept { return in_; }
  uint32_t out() const noexcept { return out_; }
  uint32_t out_stride() const noexcept { return out_stride_; }  // Dense::out_stride
  size_t bytes() const noexcept { return weights_.bytes() + bias_.bytes(); }
  LayerView view() const noexcept { return {weights_.data(), bias_.data(), in_, columns_}; }

 private:
  uint32_t in_, out_, out_stride_, columns_;
  DeviceArray<float> weights_, bias_;
};

// lists[i]: where <x_i, c> - half_norms[c] is greatest.
void nearest(const MatrixView& x, const DeviceLayer& centroids, DevicePointer<const float> half_norms,
             DevicePointer<uint32_t> lists);

// out[i, o] = bias[o] + sum_k x[i, k] w[o, k], as Kernels::gemm, to the bit; relu: what is not above 0 becomes 0. Rows
// of out are layer.out_stride() floats apart.
void product(const MatrixView& x, const DeviceLayer& layer, bool relu, DevicePointer<float> out);

// Layers with ReLU between them, as binarizer/network.h.
class DeviceNetwork {
 public:
  // Throws Error(InvalidArgument) where there is no layer, or one does not take what the one before it gives.
  explicit DeviceNetwork(const std::vector<Layer>& layers);

  uint32_t in() const noexcept { return layers_.front().in(); }
  uint32_t out() const noexcept { return layers_.back().out(); }
  uint32_t out_stride() const noexcept { return layers_.back().out_stride(); }
  // Floats of a row between layers; 0: there is nothing between.
  size_t widest() const noexcept;

  // out: rows of out_stride() floats. between: room for rows of widest() floats each.
  void forward(const MatrixView& x, std::array<DeviceArray<float>, 2>& between, DevicePointer<float> out) const;

 private:
  std::vector<DeviceLayer> layers_;
};

}  // namespace bebr::cuda
