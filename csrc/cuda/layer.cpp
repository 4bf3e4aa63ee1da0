#include "cuda/layer.h"

#include <algorithm>
#include <vector>

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

}  // namespace bebr::cuda
