// The scan of scan.cu by wgmma, for devices of compute capability 9.0 and many queries: a code that is expanded once
// meets 256 queries, which lie in shared memory as the product wants them.
//
// A block has a multiprocessor to itself. Its two warpgroups take rows in turns, each at its own pace where queries fit
// as a whole: the second begins when the first has multiplied, so that one multiplies while the other looks at its
// sums. A warpgroup expands a k-step while its product of the one before runs.
#include "cuda/least_sum.h"
#include "cuda/scan_tile.h"

namespace bebr::cuda {
namespace {

// A warp has a block of 16 rows: with two, its sums would be of half the queries, and ptxas would wait for each product
// before it makes the next one's left operand.
constexpr uint32_t kGroups = 2, kThreads = kGroups * kWarpgroup, kRows = 1, kQueries = 32;
constexpr uint32_t kGroupRows = kTileWarps * kRows * 16, kTileQueries = kQueries * 8;
static_assert(kThreads / kWarp == kWideWarps && kWarpgroup == kTileWarps * kWarp);
static_assert(kWideTile.rows == kGroups * kGroupRows && kWideTile.queries == kTileQueries);

// Of a k-step, 8 queries' 32 bytes: two core matrices.
constexpr uint32_t kCore = 128, kStepBytes = 2 * kCore;

// One chunk of the item's queries: 8 of them by a warp, so that what it writes together is a core matrix.
__device__ __forceinline__ void load_queries(const ScanArgs& args, const ScanItem& item, const uint32_t* chunk,
                                             uint32_t pitch, uint8_t* to) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, first_step = chunk[0], steps = chunk[1];
  for (uint32_t q = warp * 8 + lane % 8; q < item.visitors; q += kWideWarps * 8) {
    const int8_t* from = args.y8 + (static_cast<uint64_t>(query_of(args, item, q)) * args.steps + first_step) * 32;
    uint8_t* const mine = to + q / 8 * 8 * pitch + q % 8 * 16;
    for (uint32_t i = lane / 8; i < 2 * steps; i += kWarp / 8) copy_async16(mine + i * kCore, from + i * 16);
  }
}

struct alignas(8) TwoSums {
  int32_t of[2];
};

// Whether a sum of this thread may pass. least: of each query, room for this warp.
__device__ __forceinline__ bool any_may_pass(const ScanArgs& args, const QueryNumbers* numbers,
                                             const Sums<kRows, kQueries>& sums, const float (&factors)[kRows][2],
                                             int32_t* least) {
  const uint32_t lane = threadIdx.x % kWarp, t = lane % 4;
  float low = fminf(factors[0][0], factors[0][1]), high = fmaxf(factors[0][0], factors[0][1]);
#pragma unroll
  for (int by = 4; by < static_cast<int>(kWarp); by *= 2) {
    low = fminf(low, __shfl_xor_sync(kWholeWarp, low, by));
    high = fmaxf(high, __shfl_xor_sync(kWholeWarp, high, by));
  }
  const FactorRange range = range_of(args.factors.factor, low, high);
#pragma unroll
  for (uint32_t i = 0; i < kQueries * 8; i += kWarp)
    least[i + lane] = least_sum(load<QueryNumbers>(numbers + i + lane), range);
  __syncwarp();
  bool any = false;
#pragma unroll
  for (uint32_t n = 0; n < kQueries; ++n) {
    const TwoSums enough = load<TwoSums>(least + n * 8 + 2 * t);
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) any |= sums[0][n][i] >= enough.of[i % 2];
  }
  return any;
}

// A block an item, as in scan.cu.
__global__ void __launch_bounds__(kThreads, 1) scan_wide_kernel(const ScanArgs args) {
  BEBR_SHARED(shared);
  uint32_t* const plan = reinterpret_cast<uint32_t*>(shared);
  QueryNumbers* const numbers = reinterpret_cast<QueryNumbers*>(shared + args.shared.numbers);
  uint8_t* const stages = shared + args.shared.stages;
  const ScanItem item = args.items[blockIdx.x];
  const uint32_t group = threadIdx.x / kWarpgroup, warp = threadIdx.x / kWarp % kTileWarps;
  const uint32_t g = threadIdx.x % kWarp / 4;
  int32_t* const least = reinterpret_cast<int32_t*>(numbers + kTileQueries) + threadIdx.x / kWarp * kTileQueries;

  for (uint32_t i = threadIdx.x; i < 4 * args.chunks + (1 + kQuads) * args.steps; i += kThreads) plan[i] = args.plan[i];
  for (uint32_t i = threadIdx.x; i < kTileQueries; i += kThreads) {
    const uint32_t q = query_of(args, item, i < item.visitors ? i : 0);
    const float scale = args.scale[q];
    numbers[i] = {args.base[q], scale, i < item.visitors ? args.threshold[q] : infinity(), safe_inverse(scale)};
  }
  __syncthreads();
  const uint32_t* const depths = plan + 4 * args.chunks;
  const uint32_t* const quads = depths + args.steps;

  const uint32_t tiles = (item.end_row - item.first_row + kGroups * kGroupRows - 1) / (kGroups * kGroupRows);
  const auto row_of = [&](uint32_t tile) { return item.first_row + (tile * kGroups + group) * kGroupRows; };
  const auto codes_of = [&](const uint32_t* chunk, uint32_t stage) {
    return stages + kTileQueries * query_pitch(chunk[1]) + stage * args.shared.code_stage +
           group * kGroupRows * chunk[3];
  };
  const auto load_step = [&](uint32_t tile, const uint32_t* chunk, uint32_t stage) {
    load_codes(args, chunk, row_of(tile), kGroupRows, codes_of(chunk, stage));
    if (args.chunks > 1 || tile == 0)
      load_queries(args, item, chunk, query_pitch(chunk[1]), stages + stage * args.shared.query_stage);
  };
  Sums<kRows, kQueries> sums;
  Left<kRows> even, odd;
  uint32_t stage = 0;
  load_step(0, plan, 0);
  copy_commit();
  for (uint32_t tile = 0; tile < tiles; ++tile) {
    for (uint32_t c = 0; c < args.chunks; ++c, stage ^= 1) {
      const uint32_t* const chunk = plan + 4 * c;
      const bool last = c + 1 == args.chunks;
      if (!last || tile + 1 < tiles) load_step(last ? tile + 1 : tile, last ? plan : chunk + 4, stage ^ 1);
      copy_commit();
      copy_wait<1>();
      fence_copies();
      if (args.chunks > 1 || tile == 0)
        __syncthreads();
      else
        sync_warpgroup();
      const uint32_t first_step = chunk[0], steps = chunk[1], bytes = chunk[3], pitch = query_pitch(steps);
      const Matrix queries = matrix_at(stages + stage * args.shared.query_stage, kCore, 8 * pitch);
      const uint8_t* codes = codes_of(chunk, stage) + warp * kRows * 16 * bytes;
      const auto begin = [&]<uint32_t kDepth>(uint32_t k, Left<kRows>& a) {
        expand<kDepth, kRows>(codes, bytes, quads + kQuads * (first_step + k), args.codes.planes, a);
        fence_registers(a[0]);
        const Matrix b = matrix_behind(queries, k * kStepBytes);
        const bool add = c + k > 0;
        begin_product_u8s8<0>(sums[0], a[0], b, add);
        begin_product_u8s8<16>(sums[0], a[0], matrix_behind(b, 128 * pitch), add);
        commit_products();
        wait_products<1>();  // the other left operand is free
      };
      const auto multiply = [&]<uint32_t kDepth>(uint32_t k, uint32_t end) {
        for (; k < end; k += 2) {
          begin.template operator()<kDepth>(k, even);
          if (k + 1 < end) begin.template operator()<kDepth>(k + 1, odd);
        }
        wait_products<0>();
      };
      if (args.chunks == 1 && tile == 0 && group == 1) sync_apart();
      for (uint32_t k = 0, end = 0; k < steps; k = end) {  // steps of one depth, the same for all threads
        end = k + (depths[first_step + k] >> 4);
        switch (depths[first_step + k] & 15) {
          case 1:
            multiply.template operator()<1>(k, end);
            break;
          case 2:
            multiply.template operator()<2>(k, end);
            break;
          case 3:
            multiply.template operator()<3>(k, end);
            break;
          case 4:
            multiply.template operator()<4>(k, end);
            break;
          case 5:
            multiply.template operator()<5>(k, end);
            break;
          case 6:
            multiply.template operator()<6>(k, end);
            break;
          default:
            multiply.template operator()<0>(k, end);
        }
      }
      if (args.chunks == 1 && tile == 0 && group == 0) sync_apart();
      if (args.chunks > 1)  // before this stage is written over
        __syncthreads();
      else
        sync_warpgroup();
    }
    take_sums(sums[0]);
    const uint32_t first_row = row_of(tile) + warp * kRows * 16 + g;
    float factors[kRows][2];
    read_factors<kRows>(args, item, first_row, factors);
    if (any_may_pass(args, numbers, sums, factors, least))
      append<kRows, kQueries>(args, item, first_row, numbers, sums, factors);
  }
  copy_wait<0>();
}

}  // namespace

void scan_codes_wide(const ScanArgs& args, size_t items) {
  launch(scan_wide_kernel, dim3{static_cast<unsigned>(items), 1, 1}, kThreads, args.shared.bytes, args);
}

}  // namespace bebr::cuda
