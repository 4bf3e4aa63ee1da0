#include "cuda/best.h"
#include "cuda/grouped.h"
#include "cuda/multiply.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kThreads = 128;
static_assert(kRowsTogether == kTileRows);

// A warp a row. What comes behind the last one chosen is looked at again for each: groups are some hundreds.
__global__ void __launch_bounds__(kThreads) choose_kernel(const ChooseArgs args) {
  const uint32_t row = (blockIdx.x * kThreads + threadIdx.x) / kWarp, lane = threadIdx.x % kWarp;
  if (row >= args.rows) return;
  const float* scores = args.scores + static_cast<uint64_t>(row) * args.stride;
  float last = infinity();
  int last_group = -1;
  for (uint32_t p = 0; p < kGroupsLooked; ++p) {
    float best = -infinity();
    uint32_t group = kNoGroup;
    for (uint32_t g = lane; g < args.groups; g += kWarp) {
      const float score = scores[g];
      if (!(score < last || (score == last && static_cast<int>(g) > last_group)) || !(score > best)) continue;
      best = score;
      group = g;
    }
    take_best(kWarp, best, group);
    if (lane == 0) {
      args.chosen[static_cast<uint64_t>(row) * kGroupsLooked + p] = group;
      if (group != kNoGroup) atomicAdd(args.counts + group, 1u);
    }
    last = best;
    last_group = static_cast<int>(group);
  }
}

// One block: sums of counts, and of the blocks that these take.
__global__ void __launch_bounds__(kThreads) place_kernel(const SortArgs args) {
  BEBR_SHARED(shared);
  uint32_t* const begin = reinterpret_cast<uint32_t*>(shared);
  uint32_t* const first_block = begin + args.groups + 1;
  for (uint32_t g = threadIdx.x; g < args.groups; g += kThreads) begin[g] = args.counts[g];
  __syncthreads();  // counts are whole
  if (threadIdx.x == 0) {
    uint32_t visitors = 0, blocks = 0;
    for (uint32_t g = 0; g <= args.groups; ++g) {
      const uint32_t count = g < args.groups ? begin[g] : 0;
      begin[g] = visitors;
      first_block[g] = blocks;
      visitors += count;
      blocks += (count + kTileRows - 1) / kTileRows;
    }
  }
  __syncthreads();
  for (uint32_t g = threadIdx.x; g <= args.groups; g += kThreads) {
    args.begin[g] = begin[g];
    args.first_block[g] = first_block[g];
    if (g < args.groups) args.next[g] = begin[g];
  }
}

// A thread a visit. In what order rows stand in a group changes nothing.
__global__ void __launch_bounds__(kThreads) scatter_kernel(const SortArgs args) {
  const uint32_t visit = blockIdx.x * kThreads + threadIdx.x;
  if (visit >= args.visits || args.chosen[visit] == kNoGroup) return;
  args.visitors[atomicAdd(args.next + args.chosen[visit], 1u)] = visit / kGroupsLooked;
}

// Greater where the score is, and of equal scores where the list is smaller.
__device__ __forceinline__ unsigned long long key_of(float score, uint32_t list) {
  const uint32_t bits = bits_of(score + 0.0f);  // -0 and 0 are equal
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ordered) << 32 | ~list;
}

__global__ void __launch_bounds__(kTileThreads, 2) look_kernel(const LookArgs args) {
  BEBR_SHARED(shared);
  uint32_t* const rows = reinterpret_cast<uint32_t*>(shared + kTileShared);
  if (blockIdx.x >= args.first_block[args.groups]) return;
  uint32_t group = 0;  // the last one whose first block is not behind this
  for (uint32_t end = args.groups; end - group > 1;) {
    const uint32_t middle = (group + end) / 2;
    if (args.first_block[middle] <= blockIdx.x)
      group = middle;
    else
      end = middle;
  }
  const uint32_t first = args.begin[group] + (blockIdx.x - args.first_block[group]) * kTileRows;
  const uint32_t left = args.begin[group + 1] - first, count = left < kTileRows ? left : kTileRows;
  for (uint32_t i = threadIdx.x; i < count; i += kTileThreads) rows[i] = args.visitors[first + i];
  float best[8];
  uint32_t list[8];
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    best[i] = -infinity();
    list[i] = 0;
  }
  for (uint32_t tile = args.first_tile[group]; tile < args.first_tile[group + 1]; ++tile) {
    TileSums sums;
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) {
      const float bias = args.centroids.bias[tile * kTileColumns + tile_column(j)];
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) sums[i][j] = bias;
    }
    multiply_tile(
        args.x, count, [&](uint32_t i) { return rows[i]; }, args.centroids, tile * kTileColumns,
        reinterpret_cast<float*>(shared), sums);
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) {
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) {
        if (!(sums[i][j] > best[i])) continue;
        best[i] = sums[i][j];
        list[i] = tile * kTileColumns + tile_column(j);
      }
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    take_best(16, best[i], list[i]);
    if (threadIdx.x % 16 == 0 && tile_row(i) < count && best[i] > -infinity())
      atomicMax(args.best + rows[tile_row(i)], key_of(best[i], args.names[list[i]]));
  }
}

dim3 blocks_of(uint64_t threads) { return {static_cast<unsigned>((threads + kThreads - 1) / kThreads), 1, 1}; }

}  // namespace

void choose_groups(const ChooseArgs& args) {
  launch(choose_kernel, blocks_of(static_cast<uint64_t>(args.rows) * kWarp), kThreads, 0, args);
}

void sort_by_group(const SortArgs& args) {
  launch(place_kernel, dim3{1, 1, 1}, kThreads, 2 * sizeof(uint32_t) * (args.groups + 1), args);
  launch(scatter_kernel, blocks_of(args.visits), kThreads, 0, args);
}

void look_in_groups(const LookArgs& args) {
  launch(look_kernel, dim3{args.most_blocks, 1, 1}, kTileThreads, kTileShared + kTileRows * sizeof(uint32_t), args);
}

}  // namespace bebr::cuda
