// A block 128 rows: it multiplies them with 128 centroids after 128, and each thread keeps the best of its 8 rows and
// its columns, which it meets in ascending order. At the end the 16 threads of a row compare theirs. No product is
// stored.
//
// Products are float32, fused in the order of k, so that each row's list is the CPU's to the bit. bf16 on tensor cores
// would choose other lists where two are near, and gain nothing: by two levels 10^9 rows of 384 dims in 65,536 lists
// are reckoned to take 42 s (docs/gpu-roofline.md), while pageable memory delivers them in 154 s at 10 GB/s.
#include "cuda/best.h"
#include "cuda/multiply.h"

namespace bebr::cuda {
namespace {

struct AssignArgs {
  MatrixView x;
  LayerView centroids;
  DevicePointer<const float> half_norms;
  DevicePointer<uint32_t> lists;
};

__global__ void __launch_bounds__(kTileThreads, 2) assign_kernel(const AssignArgs args) {
  BEBR_SHARED(shared);
  const uint32_t first_row = blockIdx.x * kTileRows;
  float best[8];
  uint32_t list[8];
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    best[i] = -infinity();
    list[i] = 0;
  }
  for (uint32_t first = 0; first < args.centroids.columns; first += kTileColumns) {
    TileSums sums;
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
#pragma unroll
      for (uint32_t j = 0; j < 8; ++j) sums[i][j] = 0;
    }
    multiply_tile(
        args.x, rows_from(args.x, first_row), [&](uint32_t i) { return first_row + i; }, args.centroids, first,
        reinterpret_cast<float*>(shared), sums);
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) {
      const uint32_t column = first + tile_column(j);
      const float half_norm = args.half_norms[column];
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) {
        const float score = sums[i][j] - half_norm;
        if (!(score > best[i])) continue;
        best[i] = score;
        list[i] = column;
      }
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    take_best(16, best[i], list[i]);
    const uint32_t row = first_row + tile_row(i);
    if (threadIdx.x % 16 == 0 && row < args.x.rows) args.lists[row] = list[i];
  }
}

}  // namespace

void nearest(const MatrixView& x, const DeviceLayer& centroids, DevicePointer<const float> half_norms,
             DevicePointer<uint32_t> lists) {
  launch(assign_kernel, dim3{(x.rows + kTileRows - 1) / kTileRows, 1, 1}, kTileThreads, kTileShared,
         AssignArgs{x, centroids.view(), half_norms, lists});
}

}  // namespace bebr::cuda
