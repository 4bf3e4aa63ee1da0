// A weight matrix packed once for gemm (PackedWeights of kernels.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.h"
#include "kernels/kernels.h"

namespace bebr {

// One layer as it comes from a model: weight [out, in] row-major, bias [out]; BatchNorm already folded in.
struct Layer {
  const float* weight = nullptr;
  const float* bias = nullptr;
  uint32_t in = 0, out = 0;
};

class Dense {
 public:
  explicit Dense(const Layer& layer);

  uint32_t in() const noexcept { return in_; }
  uint32_t out() const noexcept { return out_; }
  size_t out_stride() const noexcept { return round_up(out_, 32); }

  // Rows of `out` are out_stride() floats apart. With bf16, pack_bf16() must have been called.
  void forward(const Kernels& kernels, const float* x, size_t rows, size_t x_stride, bool relu, bool bf16,
               float* out) const;
  void pack_bf16();
  void keep_bf16_only();  // pack_bf16(), and forward without bf16 is no longer possible

 private:
  uint32_t in_, out_;
  Buffer f32_, bf16_, bias_;
};

// The buffer, grown if need be, as `count` floats.
inline float* floats(Buffer& buffer, size_t count) {
  if (buffer.size() < count * sizeof(float)) buffer.resize(count * sizeof(float));
  return buffer.as<float>();
}

}  // namespace bebr
