// A tile of x W in registers: 128 rows of x by 128 columns of W, 8 x 8 sums a thread. Every sum takes its products in
// the order of k, fused, from where it begins: as Kernels::gemm does, to the bit.
//
// Chunks of 16 of k go through two stages of shared memory; the columns' by asynchronous copies, the rows', which turn
// on their way, through registers. A k costs a thread 4 loads of 16 bytes and 64 fused products.
#pragma once

#include "cuda/device.h"
#include "cuda/layer.h"

namespace bebr::cuda {

inline constexpr uint32_t kTileThreads = 256, kTileRows = 128, kTileDepth = 16;
inline constexpr uint32_t kRowPitch = kTileRows + 4;  // of a k's rows: what turns meets few banks twice
inline constexpr uint32_t kTileStage = kTileDepth * (kRowPitch + kTileColumns);  // floats
inline constexpr uint32_t kTileShared = 2 * kTileStage * 4;                      // bytes

using TileSums = float[8][8];

// What sum i, j of this thread stands for in the tile.
__device__ __forceinline__ uint32_t tile_row(uint32_t i) { return i / 4 * 64 + threadIdx.x / 16 * 4 + i % 4; }
__device__ __forceinline__ uint32_t tile_column(uint32_t j) { return j / 4 * 64 + threadIdx.x % 16 * 4 + j % 4; }

struct alignas(16) FourFloats {
  float values[4];
};

// Rows of a tile that begins with this one, side by side in x.
__device__ __forceinline__ uint32_t rows_from(const MatrixView& x, uint32_t first_row) {
  return x.rows - first_row < kTileRows ? x.rows - first_row : kTileRows;
}

// Adds to the sums. All threads of the block call it. count: rows of the tile that there are; row_at(i): which one of x
// the i-th of them is.
template <typename RowAt>
__device__ __forceinline__ void multiply_tile(const MatrixView& x, uint32_t count, const RowAt& row_at,
                                              const LayerView& w, uint32_t first_column, float* shared,
                                              TileSums& sums) {
  const uint32_t k_of = threadIdx.x % kTileDepth, row_of = threadIdx.x / kTileDepth;
  const auto load_columns = [&](uint32_t k0, float* stage) {
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t at = i * kTileThreads + threadIdx.x, k = at / 32, column = at % 32 * 4;
      if (k0 + k < w.in)
        copy_async16(stage + kTileDepth * kRowPitch + k * kTileColumns + column,
                     w.weights + static_cast<uint64_t>(k0 + k) * w.columns + first_column + column);
    }
    copy_commit();
  };
  const auto load_rows = [&](uint32_t k0, float (&values)[8]) {
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t row = i * 16 + row_of;
      const bool there = row < count && k0 + k_of < w.in;
      values[i] = there ? x.values[static_cast<uint64_t>(row_at(row)) * x.stride + k0 + k_of] : 0;
    }
  };
  const auto put_rows = [&](const float (&values)[8], float* stage) {
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) stage[k_of * kRowPitch + i * 16 + row_of] = values[i];
  };

  __syncthreads();  // a tile before this one may still be read
  float values[8];
  load_columns(0, shared);
  load_rows(0, values);
  put_rows(values, shared);
  const bool live = threadIdx.x / kWarp * 8 < count;  // of a warp: its rows begin with this one
  for (uint32_t k0 = 0, stage = 0; k0 < w.in; k0 += kTileDepth, stage ^= 1) {
    const bool more = k0 + kTileDepth < w.in;
    const float* now = shared + stage * kTileStage;
    float* next = shared + (stage ^ 1) * kTileStage;
    copy_wait<0>();
    __syncthreads();
    if (more) {
      load_columns(k0 + kTileDepth, next);
      load_rows(k0 + kTileDepth, values);
    }
    const uint32_t depth = more ? kTileDepth : w.in - k0;
    for (uint32_t k = 0; live && k < depth; ++k) {
      const float* rows = now + k * kRowPitch;
      const float* columns = now + kTileDepth * kRowPitch + k * kTileColumns;
      FourFloats a[2], b[2];
#pragma unroll
      for (uint32_t half = 0; half < 2; ++half) {
        a[half] = load<FourFloats>(rows + tile_row(4 * half));
        b[half] = load<FourFloats>(columns + tile_column(4 * half));
      }
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) {
#pragma unroll
        for (uint32_t j = 0; j < 8; ++j) sums[i][j] = fmaf(a[i / 4].values[i % 4], b[j / 4].values[j % 4], sums[i][j]);
      }
    }
    if (more) put_rows(values, next);
  }
}

}  // namespace bebr::cuda
