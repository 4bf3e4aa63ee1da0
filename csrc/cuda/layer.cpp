#include "cuda/layer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace bebr::cuda {

DeviceLayer::DeviceLayer(const Layer& layer)
    : in_(layer.in),
      out_(layer.out),
      out_stride_((layer.out + 31) / 32 * 32),
      columns_((layer.out + kTileColumns - 1) / kTileColumns * kTileColumns) {
  std::vector<float> weights(size_t{in_} * columns_), bias(columns_);
  if (layer.bias != nullptr) std::copy_n(layer.bias, out_, bias.data());
  for (size_t o = 0; o < out_; ++o)
    for (size_t k = 0; k < in_; ++k) weights[k * columns_ + o] = layer.weight[o * in_ + k];
  weights_ = DeviceArray<float>(weights);
  bias_ = DeviceArray<float>(bias);
}

DeviceNetwork::DeviceNetwork(const std::vector<Layer>& layers) {
  if (layers.empty()) fail(ErrorCode::InvalidArgument, "a network has no layers: want at least one");
  for (const Layer& layer : layers) {
    if (!layers_.empty() && layer.in != layers_.back().out())
      fail(ErrorCode::InvalidArgument, "a layer takes " + std::to_string(layer.in) + " inputs: want " +
                                           std::to_string(layers_.back().out()) + ", the outputs of the one before it");
    layers_.emplace_back(layer);
  }
}

size_t DeviceNetwork::widest() const noexcept {
  size_t found = 0;
  for (size_t i = 0; i + 1 < layers_.size(); ++i) found = std::max<size_t>(found, layers_[i].out_stride());
  return found;
}

void DeviceNetwork::forward(const MatrixView& x, std::array<DeviceArray<float>, 2>& between,
                            DevicePointer<float> out) const {
  MatrixView from = x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool last = i + 1 == layers_.size();
    product(from, layers_[i], !last, last ? out : between[i % 2].data());
    if (!last) from = {std::as_const(between[i % 2]).data(), x.rows, layers_[i].out_stride()};
  }
}

}  // namespace bebr::cuda
