// The float product of encoding: a block a tile of 128 rows and 128 outputs. Blocks that run together read the same
// rows.
#include "cuda/multiply.h"

namespace bebr::cuda {
namespace {

struct ProductArgs {
  MatrixView x;
  LayerView layer;
  DevicePointer<float> out;
  uint32_t out_stride = 0;
  bool relu = false;
};

__global__ void __launch_bounds__(kTileThreads, 2) product_kernel(const ProductArgs args) {
  BEBR_SHARED(shared);
  const uint32_t first_row = blockIdx.y * kTileRows, first_column = blockIdx.x * kTileColumns;
  TileSums sums;
#pragma unroll
  for (uint32_t j = 0; j < 8; ++j) {
    const float bias = args.layer.bias[first_column + tile_column(j)];
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) sums[i][j] = bias;
  }
  multiply_tile(
      args.x, rows_from(args.x, first_row), [&](uint32_t i) { return first_row + i; }, args.layer, first_column,
      reinterpret_cast<float*>(shared), sums);
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t row = first_row + tile_row(i);
    if (row >= args.x.rows) continue;
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
      const uint32_t column = first_column + tile_column(4 * half);
      if (column >= args.out_stride) continue;
      FourFloats four;
#pragma unroll
      for (uint32_t j = 0; j < 4; ++j) {
        const float sum = sums[i][4 * half + j];
        four.values[j] = args.relu && !(sum > 0) ? 0 : sum;
      }
      *reinterpret_cast<FourFloats*>(args.out + static_cast<uint64_t>(row) * args.out_stride + column) = four;
    }
  }
}

}  // namespace

void product(const MatrixView& x, const DeviceLayer& layer, bool relu, DevicePointer<float> out) {
  const ProductArgs args{x, layer.view(), out, layer.out_stride(), relu};
  launch(product_kernel, dim3{args.layer.columns / kTileColumns, (x.rows + kTileRows - 1) / kTileRows, 1}, kTileThreads,
         kTileShared, args);
}

}  // namespace bebr::cuda
