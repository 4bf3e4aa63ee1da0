// Codes are expanded in registers into the left operand of a tensor-core product, queries are the right one, and what
// passes a query's threshold is appended to its candidates.
//
// Bounds: u <= 255, |y8| <= 128, 4096 dims and 64 repeated: sums below 2^28.
#include "cuda/device.h"
#include "cuda/expand.h"
#include "cuda/scan.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kWarps = 4, kThreads = kWarp * kWarps;

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

// `rows` rows from `row` on of one chunk; a warp takes a block of 16 rows at a time.
__device__ __forceinline__ void load_codes(const ScanArgs& args, const uint32_t* chunk, uint32_t row, uint32_t rows,
                                           uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, first_byte = chunk[2], bytes = chunk[3];
  const uint32_t blocks = (args.codes.rows + 15) / 16;
  for (uint32_t b = warp; b < rows / 16 && row / 16 + b < blocks; b += kWarps) {
    const uint8_t* from =
        args.codes.blocks + (static_cast<uint64_t>(row / 16 + b) * args.codes.row_bytes + first_byte) * 16;
    for (uint32_t i = lane; i < bytes; i += kWarp) copy_async16(to + (b * bytes + i) * 16, from + i * 16);
  }
}

__device__ __forceinline__ uint32_t query_of(const ScanArgs& args, const ScanItem& item, uint32_t i) {
  const uint32_t visitor = item.first_visitor + i;
  return args.visitors != nullptr ? args.visitors[visitor] : visitor;
}

// One chunk of the item's queries.
__device__ __forceinline__ void load_queries(const ScanArgs& args, const ScanItem& item, const uint32_t* chunk,
                                             uint32_t pitch, uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, first_step = chunk[0], steps = chunk[1];
  for (uint32_t q = warp; q < item.visitors; q += kWarps) {
    const int8_t* from = args.y8 + (static_cast<uint64_t>(query_of(args, item, q)) * args.steps + first_step) * 32;
    for (uint32_t i = lane; i < 2 * steps; i += kWarp) copy_async16(to + q * pitch + i * 16, from + i * 16);
  }
}

__device__ __forceinline__ float score_of(const QueryNumbers& numbers, int32_t sum, float factor, bool difference) {
  const float product = numbers.scale * static_cast<float>(sum);
  const float score = numbers.base + product;
  return difference ? score - factor : score * factor;
}

// Whether a score of this thread passes, those of rows that do not exist included: most often none does. A loop
// without a branch, which the one that appends could not be.
template <bool kDifference, uint32_t kRows, uint32_t kQueries>
__device__ __forceinline__ bool any_passes(const QueryNumbers* numbers, const Sums<kRows, kQueries>& sums,
                                           const float (&factors)[kRows][2]) {
  bool any = false;
#pragma unroll
  for (uint32_t n = 0; n < kQueries; ++n) {
#pragma unroll
    for (uint32_t c = 0; c < 2; ++c) {
      const QueryNumbers mine = load<QueryNumbers>(numbers + n * 8 + 2 * (threadIdx.x % 4) + c);
#pragma unroll
      for (uint32_t m = 0; m < kRows; ++m) {
#pragma unroll
        for (uint32_t h = 0; h < 2; ++h)
          any |= score_of(mine, sums[m][n][2 * h + c], factors[m][h], kDifference) > mine.threshold;
      }
    }
  }
  return any;
}

// first_row: of this thread's.
template <uint32_t kRows, uint32_t kQueries>
__device__ __forceinline__ void keep(const ScanArgs& args, const ScanItem& item, uint32_t first_row,
                                     const QueryNumbers* numbers, const Sums<kRows, kQueries>& sums) {
  const bool difference = args.factors.factor == Factor::Sub;
  float factors[kRows][2];
#pragma unroll
  for (uint32_t m = 0; m < kRows; ++m) {
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t row = first_row + m * 16 + 8 * h;
      factors[m][h] = args.factors.factor != Factor::None && row < item.end_row ? factor_value(args.factors, row) : 1;
    }
  }
  if (!(difference ? any_passes<true, kRows, kQueries>(numbers, sums, factors)
                   : any_passes<false, kRows, kQueries>(numbers, sums, factors)))
    return;
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

// A block an item. Rows and queries that do not exist are multiplied, too, as whatever shared memory holds, and never
// appended.
template <uint32_t kRows, uint32_t kQueries>
__global__ void __launch_bounds__(kThreads, 3) scan_kernel(const ScanArgs args) {
  constexpr uint32_t kTileRows = kWarps * kRows * 16, kTileQueries = kQueries * 8;
  BEBR_SHARED(shared);
  uint32_t* const plan = reinterpret_cast<uint32_t*>(shared);
  QueryNumbers* const numbers = reinterpret_cast<QueryNumbers*>(shared + args.shared.numbers);
  uint8_t* const stages = shared + args.shared.stages;
  const ScanItem item = args.items[blockIdx.x];
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;

  for (uint32_t i = threadIdx.x; i < 4 * args.chunks + (1 + kQuads) * args.steps; i += kThreads) plan[i] = args.plan[i];
  for (uint32_t i = threadIdx.x; i < kTileQueries; i += kThreads) {
    const uint32_t q = query_of(args, item, i < item.visitors ? i : 0);
    numbers[i] = {args.base[q], args.scale[q], i < item.visitors ? args.threshold[q] : infinity(), 0};
  }
  __syncthreads();
  const uint32_t* const depths = plan + 4 * args.chunks;
  const uint32_t* const quads = depths + args.steps;

  // Steps of work: chunk after chunk of tile after tile.
  const uint32_t tiles = (item.end_row - item.first_row + kTileRows - 1) / kTileRows;
  const auto load_step = [&](uint32_t tile, uint32_t chunk, uint32_t stage) {
    const uint32_t pitch = query_pitch(plan[4 * chunk + 1]);
    load_codes(args, plan + 4 * chunk, item.first_row + tile * kTileRows, kTileRows,
               stages + kTileQueries * pitch + stage * args.shared.code_stage);
    if (args.chunks > 1 || (tile == 0 && chunk == 0))
      load_queries(args, item, plan + 4 * chunk, pitch, stages + stage * args.shared.query_stage);
  };
  Sums<kRows, kQueries> sums;
  uint32_t stage = 0;
  load_step(0, 0, 0);
  copy_commit();
  for (uint32_t tile = 0; tile < tiles; ++tile) {
#pragma unroll
    for (uint32_t m = 0; m < kRows; ++m) {
#pragma unroll
      for (uint32_t n = 0; n < kQueries; ++n) {
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) sums[m][n][i] = 0;
      }
    }
    for (uint32_t chunk = 0; chunk < args.chunks; ++chunk, stage ^= 1) {
      const bool last = chunk + 1 == args.chunks;
      if (!last || tile + 1 < tiles) load_step(last ? tile + 1 : tile, last ? 0 : chunk + 1, stage ^ 1);
      copy_commit();
      copy_wait<1>();
      __syncthreads();
      const uint32_t first_step = plan[4 * chunk], steps = plan[4 * chunk + 1], bytes = plan[4 * chunk + 3];
      const uint32_t pitch = query_pitch(steps);
      const uint8_t* queries = stages + stage * args.shared.query_stage;
      const uint8_t* codes = stages + kTileQueries * pitch + stage * args.shared.code_stage + warp * kRows * 16 * bytes;
      for (uint32_t k = 0; k < steps; ++k) {
        Left<kRows> a;
        expand<kRows>(depths[first_step + k], codes, bytes, quads + kQuads * (first_step + k), args.codes.planes, a);
#pragma unroll
        for (uint32_t n = 0; n < kQueries; ++n) {
          const TwoWords b = load<TwoWords>(queries + (n * 8 + g) * pitch + k * 32 + t * 8);
#pragma unroll
          for (uint32_t m = 0; m < kRows; ++m) mma_u8s8(sums[m][n], a[m], b.words);
        }
      }
      __syncthreads();  // before this stage is written over
    }
    keep<kRows, kQueries>(args, item, item.first_row + tile * kTileRows + warp * kRows * 16 + g, numbers, sums);
  }
  copy_wait<0>();
}

template <size_t kTile>
void launch_scan(const ScanArgs& args, size_t items) {
  constexpr ScanTile kShape = kScanTiles[kTile];
  constexpr uint32_t kRows = kShape.rows / (16 * kWarps), kQueries = kShape.queries / 8;
  static_assert(kShape.rows == kRows * 16 * kWarps && kShape.queries == kQueries * 8);
  launch(scan_kernel<kRows, kQueries>, dim3{static_cast<unsigned>(items), 1, 1}, kThreads, args.shared.bytes, args);
}

}  // namespace

void scan_codes(const ScanArgs& args, size_t items) {
  if (args.tile.queries == kScanTiles[0].queries) return launch_scan<0>(args, items);
  if (args.tile.queries == kScanTiles[1].queries) return launch_scan<1>(args, items);
  return launch_scan<2>(args, items);
}

}  // namespace bebr::cuda
