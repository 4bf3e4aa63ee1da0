// The specification of the kernels over raw rows: plain sums in the order of the dimensions.
#include <cassert>
#include <cstring>

#include "base/half.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

float half_at(const uint8_t* row, uint32_t j) noexcept {
  uint16_t half = 0;
  std::memcpy(&half, row + size_t{j} * sizeof half, sizeof half);
  return half_to_float(half);
}

void raw_dot_f16_scalar(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                        size_t count, float* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (uint32_t j = 0; j < dim; ++j) sum += q[j] * half_at(data + rows[i] * stride, j);
    out[i] = sum;
  }
}

void raw_l2_f16_scalar(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                       size_t count, float* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (uint32_t j = 0; j < dim; ++j) {
      const float apart = q[j] - half_at(data + rows[i] * stride, j);
      sum += apart * apart;
    }
    out[i] = sum;
  }
}

void raw_dot_i8_scalar(const int16_t* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                       size_t count, int32_t* dots, int32_t* squares) noexcept {
  assert(dim <= 1u << 16);
  for (size_t i = 0; i < count; ++i) {
    int32_t dot = 0, square = 0;
    for (uint32_t j = 0; j < dim; ++j) {
      const int32_t entry = static_cast<int8_t>(data[rows[i] * stride + j]);
      dot += q[j] * entry;
      square += entry * entry;
    }
    dots[i] = dot;
    squares[i] = square;
  }
}

}  // namespace

void bind_scalar_raw(Kernels& table) noexcept {
  table.raw_dot_f16 = raw_dot_f16_scalar;
  table.raw_l2_f16 = raw_l2_f16_scalar;
  table.raw_dot_i8 = raw_dot_i8_scalar;
}

}  // namespace bebr
