// Products of vectors with a matrix by 16-bit integers, packed once (PackedProjection of kernels.h). A vector, and a
// row of the matrix, becomes integers of one length: their products fit into 32 bits whatever the entries are, and all
// machines give the same bits. What rounding adds to a product is about 10^-5 of both lengths.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.h"
#include "kernels/kernels.h"

namespace bebr {

class Projection {
 public:
  // weight [out, in] row-major; in <= 2^20.
  Projection(const float* weight, uint32_t in, uint32_t out);

  // x [rows, in] -> y, products with each row of the matrix: rows y_stride >= out floats apart. What lies between them
  // may be written to where that is round_up(out, 32) or more.
  void forward(const Kernels& kernels, const float* x, size_t rows, float* y, size_t y_stride) const;

 private:
  uint32_t in_, out_;
  Buffer pairs_, scale_;
};

}  // namespace bebr
