#include "binarizer/network.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/threads.h"

namespace bebr {
Network::Network(const std::vector<Layer>& layers, const char* name) {
  if (layers.empty()) fail(ErrorCode::InvalidArgument, std::string(name) + " has no layers: want at least one");
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string at = std::string(name) + "." + std::to_string(i);
    if (layers[i].in == 0 || layers[i].out == 0) fail(ErrorCode::InvalidArgument, at + ".weight is empty");
    if (i > 0 && layers[i].in != layers[i - 1].out)
      fail(ErrorCode::InvalidArgument, at + ".weight takes " + std::to_string(layers[i].in) + " inputs: want " +
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
