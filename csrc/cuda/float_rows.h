// What encoding does to rows of floats beside products: a thread 8 coordinates, or half a warp a row.
#pragma once

#include <cstdint>

#include "code/spec.h"
#include "cuda/layer.h"

namespace bebr::cuda {

// Vectors as they come in: of float32, or of fp16 where `half`.
struct EnterArgs {
  DevicePointer<const uint8_t> x;
  bool half = false, normalize = false;
  uint32_t rows = 0, dim = 0;
  uint64_t stride = 0;       // of rows, in entries
  DevicePointer<float> out;  // dim a row; scaled to unit length, as the CPU's Encoder does, where normalize
  // The first row with an entry that is no finite number, at first ~0. Null: not wanted.
  DevicePointer<uint32_t> not_finite;
};
void enter(const EnterArgs& args);

// values [rows, stride] to the grid of a code by successive approximation: bit t of a coordinate is the sign of what
// the planes before t have left of it. Of v itself it finds the planes again.
struct ApproximateArgs {
  CodeSpec spec;
  uint32_t rows = 0, stride = 0;
  DevicePointer<const float> values;
  DevicePointer<uint8_t> planes;  // [rows, row_bytes], row format. Null: not wanted
  DevicePointer<float> v, error;  // as values: the grid's value, 1 beyond dims; values - v, 0 there. Null: not wanted
};
void approximate(const ApproximateArgs& args);

// Lengths of rows, in the order in which numpy sums (binarizer/queries.cpp), to the bit.
struct LengthArgs {
  uint32_t rows = 0, dim = 0, stride = 0;
  DevicePointer<const float> values;
  DevicePointer<float> lengths;  // infinite where the squares are too large for a float. Null: not wanted
  DevicePointer<float> unit;     // as values, which it may be: of unit length, rows of zeros as they are; or null
};
void measure(const LengthArgs& args);

// out = x + scale y, each product rounded. away: instead of scale, minus the inverse of the length of y's row, as the
// CPU's Encoder takes it. out may be x.
struct AddArgs {
  uint32_t rows = 0, dim = 0;
  uint32_t x_stride = 0, y_stride = 0, out_stride = 0;
  bool away = false;
  float scale = 0;
  DevicePointer<const float> x, y;
  DevicePointer<float> out;
};
void add(const AddArgs& args);

// The signs of `width` values as a plane of the row format, `offset` bytes into each row; and `weight` times them added
// to v.
struct PlaneArgs {
  uint32_t rows = 0, width = 0, stride = 0;  // of values
  DevicePointer<const float> values;
  uint32_t row_bytes = 0, offset = 0;
  DevicePointer<uint8_t> planes;
  uint32_t v_stride = 0;
  float weight = 1;
  DevicePointer<float> v;
};
void add_plane(const PlaneArgs& args);

// Squared norms of reconstructions, as Decoder::squared_norms.
struct NormArgs {
  uint32_t rows = 0, count = 0;  // entries of a product that count
  uint32_t v_stride = 0, stride = 0;
  DevicePointer<const float> v;        // null: the product is the reconstruction itself
  DevicePointer<const float> product;  // else that of v and Decoder::norm_layer
  float constant = 0;
  DevicePointer<float> norms;
};
void norms(const NormArgs& args);

}  // namespace bebr::cuda
