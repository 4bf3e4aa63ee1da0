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
constexpr uint32_t kRowTiles = 2, kQueryTiles = 8;  // of a warp, 16 rows and 8 queries each
static_assert(kTileRows == kWarps * kRowTiles * 16 && kTileQueries == kQueryTiles * 8);

using Left = uint32_t[kRowTiles][4];

// A k-step of this warp's rows. quads: of the step.
template <uint32_t kDepth>
__device__ __forceinline__ void expand(const uint8_t* codes, uint32_t bytes, const uint32_t* quads, uint32_t planes,
                                       Left& a) {
  const uint32_t g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
#pragma unroll
  for (uint32_t high = 0; high < 2; ++high) {
    const uint32_t quad = quads[4 * high + t];
    const uint8_t* group = codes + (quad >> 5) * 16;
#pragma unroll
    for (uint32_t m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (uint32_t i = 0; i < 2; ++i)
        a[m][2 * high + i] = expand4<kDepth>(group + m * 16 * bytes, g + 8 * i, quad >> 4 & 1, quad & 15, planes);
    }
  }
}

__device__ __forceinline__ void expand(uint32_t depth, const uint8_t* codes, uint32_t bytes, const uint32_t* quads,
                                       uint32_t planes, Left& a) {
  switch (depth) {  // the same for all threads
    case 1:
      return expand<1>(codes, bytes, quads, planes, a);
    case 2:
      return expand<2>(codes, bytes, quads, planes, a);
    case 3:
      return expand<3>(codes, bytes, quads, planes, a);
    case 4:
      return expand<4>(codes, bytes, quads, planes, a);
    case 5:
      return expand<5>(codes, bytes, quads, planes, a);
    case 6:
      return expand<6>(codes, bytes, quads, planes, a);
    default:
      return expand<0>(codes, bytes, quads, planes, a);
  }
}

// Rows from `row` on of one chunk; a warp takes a block of 16 rows at a time.
__device__ __forceinline__ void load_codes(const ScanArgs& args, const uint32_t* chunk, uint32_t row, uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, first_byte = chunk[2], bytes = chunk[3];
  const uint32_t blocks = (args.codes.rows + 15) / 16;
  for (uint32_t b = warp; b < kTileRows / 16 && row / 16 + b < blocks; b += kWarps) {
    const uint8_t* from =
        args.codes.blocks + (static_cast<uint64_t>(row / 16 + b) * args.codes.row_bytes + first_byte) * 16;
    for (uint32_t i = lane; i < bytes; i += kWarp) copy_async16(to + (b * bytes + i) * 16, from + i * 16);
  }
}

// One chunk of the block's queries.
__device__ __forceinline__ void load_queries(const ScanArgs& args, const uint32_t* chunk, uint32_t pitch, uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, first_step = chunk[0], steps = chunk[1];
  const uint32_t q0 = blockIdx.x * kTileQueries;
  for (uint32_t q = warp; q < kTileQueries && q0 + q < args.count; q += kWarps) {
    const int8_t* from = args.y8 + (static_cast<uint64_t>(q0 + q) * args.steps + first_step) * 32;
    for (uint32_t i = lane; i < 2 * steps; i += kWarp) copy_async16(to + q * pitch + i * 16, from + i * 16);
  }
}

// Grid: x query tiles, so that blocks which run together read the same codes; y row shares. Rows and queries that do
// not exist are multiplied, too, as whatever shared memory holds, and never appended.
__global__ void __launch_bounds__(kThreads, 3) scan_kernel(const ScanArgs args) {
  BEBR_SHARED(shared);
  uint32_t* const plan = reinterpret_cast<uint32_t*>(shared);
  float* const numbers = reinterpret_cast<float*>(shared + args.shared.numbers);
  uint8_t* const stages = shared + args.shared.stages;
  const uint32_t q0 = blockIdx.x * kTileQueries;
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;

  for (uint32_t i = threadIdx.x; i < 4 * args.chunks + (1 + kQuads) * args.steps; i += kThreads) plan[i] = args.plan[i];
  for (uint32_t i = threadIdx.x; i < kTileQueries; i += kThreads) {
    const bool here = q0 + i < args.count;
    numbers[i] = here ? args.base[q0 + i] : 0.0f;
    numbers[kTileQueries + i] = here ? args.scale[q0 + i] : 0.0f;
    numbers[2 * kTileQueries + i] = here ? args.threshold[q0 + i] : infinity();
  }
  __syncthreads();
  const uint32_t* const depths = plan + 4 * args.chunks;
  const uint32_t* const quads = depths + args.steps;

  // Items: chunk after chunk of tile after tile.
  const uint32_t tiles = (args.end_row - args.first_row + kTileRows - 1) / kTileRows;
  const uint32_t mine = blockIdx.y < tiles ? (tiles - blockIdx.y + gridDim.y - 1) / gridDim.y : 0;
  const auto row_of = [&](uint32_t tile) { return args.first_row + (blockIdx.y + tile * gridDim.y) * kTileRows; };
  const auto load_item = [&](uint32_t tile, uint32_t chunk, uint32_t stage) {
    const uint32_t pitch = query_pitch(plan[4 * chunk + 1]);
    load_codes(args, plan + 4 * chunk, row_of(tile), stages + kTileQueries * pitch + stage * args.shared.code_stage);
    if (args.chunks > 1 || (tile == 0 && chunk == 0))
      load_queries(args, plan + 4 * chunk, pitch, stages + stage * args.shared.query_stage);
  };
  int32_t sums[kRowTiles][kQueryTiles][4];
  uint32_t stage = 0;
  if (mine > 0) load_item(0, 0, 0);
  copy_commit();
  for (uint32_t tile = 0; tile < mine; ++tile) {
#pragma unroll
    for (uint32_t m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (uint32_t n = 0; n < kQueryTiles; ++n) {
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) sums[m][n][i] = 0;
      }
    }
    for (uint32_t chunk = 0; chunk < args.chunks; ++chunk, stage ^= 1) {
      const bool last = chunk + 1 == args.chunks;
      if (!last || tile + 1 < mine) load_item(last ? tile + 1 : tile, last ? 0 : chunk + 1, stage ^ 1);
      copy_commit();
      copy_wait<1>();
      __syncthreads();
      const uint32_t first_step = plan[4 * chunk], steps = plan[4 * chunk + 1], bytes = plan[4 * chunk + 3];
      const uint32_t pitch = query_pitch(steps);
      const uint8_t* queries = stages + stage * args.shared.query_stage;
      const uint8_t* codes =
          stages + kTileQueries * pitch + stage * args.shared.code_stage + warp * kRowTiles * 16 * bytes;
      for (uint32_t k = 0; k < steps; ++k) {
        Left a;
        expand(depths[first_step + k], codes, bytes, quads + kQuads * (first_step + k), args.codes.planes, a);
#pragma unroll
        for (uint32_t n = 0; n < kQueryTiles; ++n) {
          const uint8_t* y = queries + (n * 8 + g) * pitch + k * 32 + t * 4;
          const uint32_t b[2] = {load<uint32_t>(y), load<uint32_t>(y + 16)};
#pragma unroll
          for (uint32_t m = 0; m < kRowTiles; ++m) mma_u8s8(sums[m][n], a[m], b);
        }
      }
      __syncthreads();  // before this stage is written over
    }

#pragma unroll
    for (uint32_t m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (uint32_t h = 0; h < 2; ++h) {
        const uint32_t row = row_of(tile) + warp * kRowTiles * 16 + m * 16 + g + 8 * h;
        if (row >= args.end_row || (args.mask != nullptr && (args.mask[row / 16] >> (row % 16) & 1) == 0)) continue;
        const float factor = args.factors.factor != Factor::None ? factor_value(args.factors, row) : 1.0f;
#pragma unroll
        for (uint32_t n = 0; n < kQueryTiles; ++n) {
#pragma unroll
          for (uint32_t c = 0; c < 2; ++c) {
            const uint32_t q = n * 8 + 2 * t + c;
            const float product = numbers[kTileQueries + q] * static_cast<float>(sums[m][n][2 * h + c]);
            float score = numbers[q] + product;
            if (args.factors.factor == Factor::Mul) score = score * factor;
            if (args.factors.factor == Factor::Sub) score = score - factor;
            if (!(score > numbers[2 * kTileQueries + q])) continue;
            const uint32_t at = atomicAdd(args.found + q0 + q, 1u);
            if (at < args.room) args.candidates[static_cast<uint64_t>(q0 + q) * args.room + at] = {score, row};
          }
        }
      }
    }
  }
  copy_wait<0>();
}

}  // namespace

void scan_codes(const ScanArgs& args, uint32_t shares) {
  const dim3 grid{(args.count + kTileQueries - 1) / kTileQueries, shares, 1};
  launch(scan_kernel, grid, kThreads, args.shared.bytes, args);
}

}  // namespace bebr::cuda
