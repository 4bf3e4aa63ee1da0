// DLPack 0.x's tensors (dlpack.h), which every later version takes.
#pragma once

#include <cstdint>

namespace bebr {

inline constexpr int32_t kDlCuda = 2;
inline constexpr uint8_t kDlInt = 0, kDlFloat = 2;
inline constexpr const char* kDlFresh = "dltensor";  // of a capsule that nobody has taken its tensor from

struct DlTensor {
  void* data;
  int32_t device_type, device;
  int32_t ndim;
  uint8_t code, bits;
  uint16_t lanes;
  const int64_t *shape, *strides;
  uint64_t byte_offset;
};

struct DlManaged {
  DlTensor tensor;
  void* owner;
  void (*release)(DlManaged*);
};

}  // namespace bebr
