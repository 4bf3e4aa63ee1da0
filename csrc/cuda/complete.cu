// A warp a candidate: its lanes take the quads of 4 dims in turn. The code's fields lie a row apart from one another,
// so 4 bytes are used of every 32 that memory moves: candidates are few.
//
// sum_t 2^(planes-1-t) sum_j y16[j] r[t, j] = 2 sum_j y16[j] u[j] - ones, in arithmetic modulo 2^32: it fits in the
// end.
#include "cuda/complete.h"
#include "cuda/device.h"
#include "cuda/expand.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kWarps = 4, kThreads = kWarp * kWarps;

__device__ __forceinline__ uint32_t sum_of_lanes(uint32_t sum) {
  for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, by);
  return sum;
}

// sum: over all bits that are set, each plane's weighed.
__device__ __forceinline__ float final_score(const CompleteArgs& args, uint32_t q, uint32_t row, uint32_t sum) {
  const auto total = static_cast<int32_t>(2 * sum - static_cast<uint32_t>(args.ones[q]));
  const double score = static_cast<double>(args.base[q]) + args.scale[q] * static_cast<double>(total);
  if (args.factors.factor == Factor::None) return static_cast<float>(score);
  const double factor = static_cast<double>(factor_value(args.factors, row));
  return static_cast<float>(args.factors.factor == Factor::Mul ? score * factor : score - factor);
}

__global__ void __launch_bounds__(kThreads) complete_kernel(const CompleteArgs args) {
  const uint32_t q = blockIdx.x, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t found = args.found[q] < args.room ? args.found[q] : args.room;
  const uint32_t stride = (args.codes.dims + 63) / 64 * 64;  // y16_stride
  const int16_t* y16 = args.y16 + static_cast<uint64_t>(q) * stride;
  for (uint32_t i = blockIdx.y * kWarps + warp; i < found; i += gridDim.y * kWarps) {
    Candidate* const candidate = args.candidates + static_cast<uint64_t>(q) * args.room + i;
    const uint32_t row = candidate->row;
    const uint8_t* block = args.codes.blocks + static_cast<uint64_t>(row / 16) * 16 * args.codes.row_bytes;
    uint32_t sum = 0;
    for (uint32_t quad = lane; quad < args.codes.dims / 4; quad += kWarp) {
      const uint32_t group = args.codes.groups[quad / 2];
      const TwoWords both = expand4<0>(block + (group >> 4) * 16, row % 8, quad % 2, group & 15, args.codes.planes);
      const uint32_t u = row % 16 < 8 ? both.words[0] : both.words[1];
#pragma unroll
      for (uint32_t j = 0; j < 4; ++j)
        sum += static_cast<uint32_t>(static_cast<int32_t>(y16[quad * 4 + j]) * static_cast<int32_t>(u >> 8 * j & 255));
    }
    sum = sum_of_lanes(sum);
    if (lane == 0) candidate->score = final_score(args, q, row, sum);
  }
}

// The sum of y over the bits that are set.
__device__ __forceinline__ uint32_t sum_of_set(uint32_t byte, const int16_t* y) {
  uint32_t sum = 0;
#pragma unroll
  for (uint32_t j = 0; j < 8; ++j) sum += byte >> j & 1 ? static_cast<uint32_t>(static_cast<int32_t>(y[j])) : 0;
  return sum;
}

// The same where the planes behind the first lie in the host's memory, row after row: what the bus moves for a
// candidate lies side by side.
__global__ void __launch_bounds__(kThreads) complete_rest_kernel(const __grid_constant__ CompleteArgs args) {
  const uint32_t q = blockIdx.x, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t found = args.found[q] < args.room ? args.found[q] : args.room;
  const uint32_t stride = (args.codes.dims + 63) / 64 * 64, groups = args.codes.dims / 8;
  const int16_t* y16 = args.y16 + static_cast<uint64_t>(q) * stride;
  uint32_t rest_bytes = 0;
  for (uint32_t t = 1; t < args.spec.planes; ++t) rest_bytes += args.spec.widths[t] / 8;
  for (uint32_t i = blockIdx.y * kWarps + warp; i < found; i += gridDim.y * kWarps) {
    Candidate* const candidate = args.candidates + static_cast<uint64_t>(q) * args.room + i;
    const uint32_t row = candidate->row;
    const uint8_t* signs = args.codes.blocks + static_cast<uint64_t>(row / 16) * 16 * groups;
    const uint8_t* plane = args.rest + static_cast<uint64_t>(row) * rest_bytes;
    uint32_t sum = 0;
    for (uint32_t group = lane; group < groups; group += kWarp)
      sum += sum_of_set(signs[group * 16 + row % 8 * 2 + row % 16 / 8], y16 + group * 8) << (args.spec.planes - 1);
    for (uint32_t t = 1; t < args.spec.planes; ++t) {
      const uint32_t bytes = args.spec.widths[t] / 8;
      for (uint32_t group = lane; group < bytes; group += kWarp)
        sum += sum_of_set(plane[group], y16 + group * 8) << (args.spec.planes - 1 - t);
      plane += bytes;
    }
    sum = sum_of_lanes(sum);
    if (lane == 0) candidate->score = final_score(args, q, row, sum);
  }
}

__device__ __forceinline__ float step_below(float x) {
  const uint32_t bits = bits_of(x);
  if (x == 0) return float_of(0x80000001u);
  return float_of(x > 0 ? bits - 1 : bits + 1);
}

// A bitonic sort, a block a query. Whatever order candidates were appended in, the answer is one.
__global__ void __launch_bounds__(kThreads) best_kernel(const BestArgs args) {
  BEBR_SHARED(shared);
  const uint32_t q = blockIdx.x;
  uint8_t* const memory = args.work != nullptr ? args.work + static_cast<uint64_t>(q) * args.size * 12 : shared;
  int64_t* const ids = reinterpret_cast<int64_t*>(memory);
  float* const scores = reinterpret_cast<float*>(memory + static_cast<uint64_t>(args.size) * 8);
  const Candidate* candidates = args.candidates + static_cast<uint64_t>(q) * args.room;
  float* const best_scores = args.best_scores + static_cast<uint64_t>(q) * args.k;
  int64_t* const best_ids = args.best_ids + static_cast<uint64_t>(q) * args.k;
  const uint32_t found = args.found[q] < args.room ? args.found[q] : args.room;
  const float floor = args.floor[q];

  for (uint32_t i = threadIdx.x; i < args.size; i += kThreads) {
    float score = -infinity();
    int64_t id = -1;
    if (i < args.k) {
      score = best_scores[i];
      id = best_ids[i];
    } else if (i - args.k < found && candidates[i - args.k].score > floor) {  // no NaN, either
      score = candidates[i - args.k].score;
      id = args.ids[candidates[i - args.k].row];
    }
    scores[i] = score;
    ids[i] = id;
  }
  for (uint32_t size = 2; size <= args.size; size *= 2) {
    for (uint32_t step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (uint32_t i = threadIdx.x; i < args.size; i += kThreads) {
        const uint32_t other = i ^ step;
        if (other <= i) continue;
        const bool ahead = scores[i] > scores[other] || (scores[i] == scores[other] && ids[i] < ids[other]);
        const bool behind = scores[other] > scores[i] || (scores[i] == scores[other] && ids[other] < ids[i]);
        if ((i & size) == 0 ? !behind : !ahead) continue;
        const float score = scores[i];
        const int64_t id = ids[i];
        scores[i] = scores[other];
        ids[i] = ids[other];
        scores[other] = score;
        ids[other] = id;
      }
    }
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < args.k; i += kThreads) {
    best_scores[i] = scores[i];
    best_ids[i] = ids[i];
  }
  if (threadIdx.x == 0) args.threshold[q] = scores[args.k - 1] > floor ? step_below(scores[args.k - 1]) : floor;
}

}  // namespace

void complete(const CompleteArgs& args, uint32_t shares) {
  launch(args.rest.is_null() ? complete_kernel : complete_rest_kernel, dim3{args.count, shares, 1}, kThreads, 0, args);
}

void best(const BestArgs& args) {
  const size_t shared = args.size <= kMostSharedSort ? size_t{args.size} * 12 : 0;
  launch(best_kernel, dim3{args.count, 1, 1}, kThreads, shared, args);
}

}  // namespace bebr::cuda
