// Codes are expanded in registers into the left operand of a tensor-core product, queries are the right one, and what
// passes a query's threshold is appended to its candidates.
#include "cuda/scan_tile.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kThreads = kWarp * kTileWarps;

// One chunk of the item's queries.
__device__ __forceinline__ void load_queries(const ScanArgs& args, const ScanItem& item, const uint32_t* chunk,
                                             uint32_t pitch, uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, first_step = chunk[0], steps = chunk[1];
  for (uint32_t q = warp; q < item.visitors; q += kTileWarps) {
    const int8_t* from = args.y8 + (static_cast<uint64_t>(query_of(args, item, q)) * args.steps + first_step) * 32;
    for (uint32_t i = lane; i < 2 * steps; i += kWarp) copy_async16(to + q * pitch + i * 16, from + i * 16);
  }
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
  float factors[kRows][2];
  read_factors<kRows>(args, item, first_row, factors);
  if (args.factors.factor == Factor::Sub ? any_passes<true, kRows, kQueries>(numbers, sums, factors)
                                         : any_passes<false, kRows, kQueries>(numbers, sums, factors))
    append<kRows, kQueries>(args, item, first_row, numbers, sums, factors);
}

// A block an item. Rows and queries that do not exist are multiplied, too, as whatever shared memory holds, and never
// appended.
template <uint32_t kRows, uint32_t kQueries>
__global__ void __launch_bounds__(kThreads, 3) scan_kernel(const ScanArgs args) {
  constexpr uint32_t kTileRows = kTileWarps * kRows * 16, kTileQueries = kQueries * 8;
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
  constexpr uint32_t kRows = kShape.rows / (16 * kTileWarps), kQueries = kShape.queries / 8;
  static_assert(kShape.rows == kRows * 16 * kTileWarps && kShape.queries == kQueries * 8);
  launch(scan_kernel<kRows, kQueries>, dim3{static_cast<unsigned>(items), 1, 1}, kThreads, args.shared.bytes, args);
}

}  // namespace

void scan_codes(const ScanArgs& args, size_t items) {
  if (args.tile.wide()) return scan_codes_wide(args, items);
  if (args.tile.queries == kScanTiles[0].queries) return launch_scan<0>(args, items);
  if (args.tile.queries == kScanTiles[1].queries) return launch_scan<1>(args, items);
  return launch_scan<2>(args, items);
}

}  // namespace bebr::cuda
