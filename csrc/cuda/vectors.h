// Vectors of a caller, in the host's memory or on a device.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bebr::cuda {

// Rows of float32 in the host's memory, one after the other; or, on the device in question, of float32 or fp16 and
// `stride` entries apart.
struct Vectors {
  const void* at = nullptr;
  size_t rows = 0, stride = 0;
  bool on_device = false, half = false;
};

// Those on a device to the host, as float32 [rows, dim]. Throws Error(LimitExceeded) where its memory is short.
void bring(size_t device, const Vectors& x, uint32_t dim, float* to);

}  // namespace bebr::cuda
