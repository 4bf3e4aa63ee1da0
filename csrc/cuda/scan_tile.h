// What the scans of scan.cu and scan_sm90.cu do alike: a tile's codes from memory to the left operand of a tensor-core
// product, and its sums to candidates.
//
// Bounds: u <= 255, |y8| <= 128, 4096 dims and 64 repeated: sums below 2^28.
#pragma once

#include "cuda/device.h"
#include "cuda/expand.h"
#include "cuda/scan.h"

namespace bebr::cuda {

inline constexpr uint32_t kTileWarps = 4;  // that share a stage of codes

// kRows, kQueries: of a warp, 16 rows and 8 queries each. Sums take 4 kRows kQueries registers.
template <uint32_t kRows>
using Left = uint32_t[kRows][4];
template <uint32_t kRows, uint32_t kQueries>
using Sums = int32_t[kRows][kQueries][4];

// A k-step of this warp's rows. quads: of the step.
template <uint32_t kDepth, uint32_t kRows>
__device__ __forceinline__ void expand(const uint8_t* codes, uint32_t bytes, const uint32_t* quads, uint32_t planes,
                                       Left<kRows>& a) {
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
#pragma unroll
  for (uint32_t high = 0; high < 2; ++high) {
    const uint32_t quad = quads[4 * high + t];
    const uint8_t* group = codes + (quad >> 5) * 16;
#pragma unroll
    for (uint32_t m = 0; m < kRows; ++m) {
      const TwoWords rows = expand4<kDepth>(group + m * 16 * bytes, g, quad >> 4 & 1, quad & 15, planes);
#pragma unroll
      for (uint32_t i = 0; i < 2; ++i) a[m][2 * high + i] = rows.words[i];
    }
  }
}

template <uint32_t kRows>
__device__ __forceinline__ void expand(uint32_t depth, const uint8_t* codes, uint32_t bytes, const uint32_t* quads,
                                       uint32_t planes, Left<kRows>& a) {
  switch (depth) {  // the same for all threads
    case 1:
      return expand<1, kRows>(codes, bytes, quads, planes, a);
    case 2:
      return expand<2, kRows>(codes, bytes, quads, planes, a);
    case 3:
      return expand<3, kRows>(codes, bytes, quads, planes, a);
    case 4:
      return expand<4, kRows>(codes, bytes, quads, planes, a);
    case 5:
      return expand<5, kRows>(codes, bytes, quads, planes, a);
    case 6:
      return expand<6, kRows>(codes, bytes, quads, planes, a);
    default:
      return expand<0, kRows>(codes, bytes, quads, planes, a);
  }
}

// `rows` rows from `row` on of one chunk, by 4 warps; each takes a block of 16 rows at a time.
__device__ __forceinline__ void load_codes(const ScanArgs& args, const uint32_t* chunk, uint32_t row, uint32_t rows,
                                           uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp % kTileWarps, lane = threadIdx.x % kWarp;
  const uint32_t first_byte = chunk[2], bytes = chunk[3], blocks = (args.codes.rows + 15) / 16;
  for (uint32_t b = warp; b < rows / 16 && row / 16 + b < blocks; b += kTileWarps) {
    const uint8_t* from =
        args.codes.blocks + (static_cast<uint64_t>(row / 16 + b) * args.codes.row_bytes + first_byte) * 16;
    for (uint32_t i = lane; i < bytes; i += kWarp) copy_async16(to + (b * bytes + i) * 16, from + i * 16);
  }
}

__device__ __forceinline__ uint32_t query_of(const ScanArgs& args, const ScanItem& item, uint32_t i) {
  const uint32_t visitor = item.first_visitor + i;
  return args.visitors != nullptr ? args.visitors[visitor] : visitor;
}

// first_row: of this thread's. Of rows that do not exist: 1.
template <uint32_t kRows>
__device__ __forceinline__ void read_factors(const ScanArgs& args, const ScanItem& item, uint32_t first_row,
                                             float (&factors)[kRows][2]) {
#pragma unroll
  for (uint32_t m = 0; m < kRows; ++m) {
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t row = first_row + m * 16 + 8 * h;
      factors[m][h] = args.factors.factor != Factor::None && row < item.end_row ? factor_value(args.factors, row) : 1;
    }
  }
}

__device__ __forceinline__ float score_of(const QueryNumbers& numbers, int32_t sum, float factor, bool difference) {
  const float product = numbers.scale * static_cast<float>(sum);
  const float score = numbers.base + product;
  return difference ? score - factor : score * factor;
}

// What passes.
template <uint32_t kRows, uint32_t kQueries>
__device__ __forceinline__ void append(const ScanArgs& args, const ScanItem& item, uint32_t first_row,
                                       const QueryNumbers* numbers, const Sums<kRows, kQueries>& sums,
                                       const float (&factors)[kRows][2]) {
  const bool difference = args.factors.factor == Factor::Sub;
#pragma unroll
  for (uint32_t m = 0; m < kRows; ++m) {
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t row = first_row + m * 16 + 8 * h;
      if (row >= item.end_row || (args.mask != nullptr && (args.mask[row / 16] >> (row % 16) & 1) == 0)) continue;
#pragma unroll
      for (uint32_t n = 0; n < kQueries; ++n) {
#pragma unroll
        for (uint32_t c = 0; c < 2; ++c) {
          const uint32_t i = n * 8 + 2 * (threadIdx.x % 4) + c;
          const float score = score_of(numbers[i], sums[m][n][2 * h + c], factors[m][h], difference);
          if (!(score > numbers[i].threshold)) continue;
          const uint32_t q = query_of(args, item, i), at = atomicAdd(args.found + q, 1u);
          if (at < args.room) args.candidates[static_cast<uint64_t>(q) * args.room + at] = {score, row};
        }
      }
    }
  }
}

}  // namespace bebr::cuda
