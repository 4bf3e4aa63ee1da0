// Sums of a row are taken as the CPU takes them: in 16 or 8 parts, a lane each, one after the other, then in double.
#include "cuda/device.h"
#include "cuda/float_rows.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kThreads = 128, kLanes = 16;  // of a row
constexpr float kLargest = 3.4028234663852886e38f, kLeastSquares = 0x1p-100f;

// squares_fit of binarizer/network.h.
__device__ __forceinline__ bool squares_fit(double sum) { return sum >= kLeastSquares && sum <= kLargest; }

__device__ __forceinline__ uint32_t row_of_lanes() { return (blockIdx.x * kThreads + threadIdx.x) / kLanes; }

// squared_length of binarizer/network.h. value(i): entry i of this lane's row. All lanes of a warp call it.
template <typename Value>
__device__ __forceinline__ double squared_length(uint32_t n, const Value& value) {
  const uint32_t lane = threadIdx.x % kLanes, whole = n / kLanes * kLanes;
  float sum = 0;
  for (uint32_t i = lane; i < whole; i += kLanes) {
    const float x = value(i);
    sum += x * x;
  }
  double total = 0;
  for (uint32_t i = 0; i < kLanes; ++i)
    total += static_cast<double>(__shfl_sync(kWholeWarp, sum, static_cast<int>(threadIdx.x % kWarp - lane + i)));
  for (uint32_t i = whole; i < n; ++i) {
    const auto x = static_cast<double>(value(i));
    total += x * x;
  }
  return total;
}

template <typename Value>
__device__ __forceinline__ float inverse_length(uint32_t n, const Value& value) {
  const double total = squared_length(n, value);
  return total > 0 ? static_cast<float>(1 / sqrt(total)) : 0;
}

__global__ void __launch_bounds__(kThreads) enter_kernel(const EnterArgs args) {
  const uint32_t lane = threadIdx.x % kLanes, row = row_of_lanes();
  const bool here = row < args.rows;
  const uint8_t* x = args.x + (here ? row : 0) * args.stride * (args.half ? 2 : 4);
  const auto value = [&](uint32_t i) {
    return args.half ? half_value(load<uint16_t>(x + i * 2)) : load<float>(x + static_cast<uint64_t>(i) * 4);
  };
  bool finite = true;
  for (uint32_t i = lane; i < args.dim; i += kLanes) finite &= fabsf(value(i)) <= kLargest;
  if (args.not_finite != nullptr && here && !finite) atomicMin(args.not_finite, row);
  const double total = args.normalize ? squared_length(args.dim, value) : 1;
  if (!here) return;
  float* out = args.out + static_cast<uint64_t>(row) * args.dim;
  if (squares_fit(total)) {
    const auto scale = static_cast<float>(1 / sqrt(total));
    for (uint32_t i = lane; i < args.dim; i += kLanes) out[i] = args.normalize ? value(i) * scale : value(i);
    return;
  }
  double squares = 0;  // each lane all of them, in the CPU's order: such rows are rare
  for (uint32_t i = 0; i < args.dim; ++i) {
    const auto x = static_cast<double>(value(i));
    squares += x * x;
  }
  const double scale = squares > 0 ? 1 / sqrt(squares) : 0;
  for (uint32_t i = lane; i < args.dim; i += kLanes) out[i] = static_cast<float>(value(i) * scale);
}

// sum_of_squares of binarizer/queries.cpp: halves, and halves of these, down to 128 entries, which are summed in 8
// parts. All lanes of a warp call it, with one n; 8 of them are a row's, and get its sum.
constexpr uint32_t kParts = 8, kWhole = 128, kMostLevels = 7;  // of up to 4,096 entries: 6

template <typename Value>
__device__ __forceinline__ float sum_of_few_squares(uint32_t first, uint32_t n, const Value& value) {
  const uint32_t lane = threadIdx.x % kParts, whole = n / kParts * kParts;
  float sum = 0;
  if (whole > 0) {
    const float one = value(first + lane);
    sum = one * one;
    for (uint32_t i = kParts + lane; i < whole; i += kParts) {
      const float x = value(first + i);
      sum += x * x;
    }
    for (int by = 1; by < static_cast<int>(kParts); by *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, by);
  }
  for (uint32_t i = whole; i < n; ++i) {
    const float x = value(first + i);
    sum += x * x;
  }
  return sum;
}

template <typename Value>
__device__ __forceinline__ float sum_of_squares(uint32_t n, const Value& value) {
  float left[kMostLevels];  // sums of left halves on the way down to where it is
#pragma unroll
  for (uint32_t i = 0; i < kMostLevels; ++i) left[i] = 0;
  for (uint32_t path = 0;;) {  // bit i: the right half at level i
    uint32_t first = 0, count = n, level = 0;
    for (; count > kWhole; ++level) {
      const uint32_t half = count / 2 - count / 2 % 8, right = path >> level & 1;
      first += right * half;
      count = right != 0 ? count - half : half;
    }
    float sum = sum_of_few_squares(first, count, value);
#pragma unroll
    for (uint32_t i = kMostLevels; i-- > 0;) {
      if (i + 1 != level || (path >> i & 1) == 0) continue;
      sum = left[i] + sum;
      level = i;
      path &= ~(1u << i);
    }
    if (level == 0) return sum;
#pragma unroll
    for (uint32_t i = 0; i < kMostLevels; ++i) left[i] = i + 1 == level ? sum : left[i];
    path |= 1u << (level - 1);
  }
}

__global__ void __launch_bounds__(kThreads) measure_kernel(const LengthArgs args) {
  const uint32_t lane = threadIdx.x % kParts, row = (blockIdx.x * kThreads + threadIdx.x) / kParts;
  if (row - threadIdx.x % kWarp / kParts >= args.rows) return;  // the whole warp
  // Lanes of no row read the last one, their own warp's: others may be written by now.
  const uint64_t at = static_cast<uint64_t>(row < args.rows ? row : args.rows - 1) * args.stride;
  const float* x = args.values + at;
  const float squares = sum_of_squares(args.dim, [&](uint32_t i) { return x[i]; });
  float length = sqrtf(squares);
  if (args.lengths != nullptr && row < args.rows && lane == 0) args.lengths[row] = length;
  if (args.unit == nullptr) return;
  float most = 1;
  const bool far = !squares_fit(squares);
  if (__ballot_sync(kWholeWarp, far) != 0) {  // a float does not hold the squares of some row
    float largest = 0;
    for (uint32_t i = lane; i < args.dim; i += kParts) largest = fmaxf(largest, fabsf(x[i]));
    for (int by = 1; by < static_cast<int>(kParts); by *= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, by));
    most = far && largest > 0 ? largest : 1;
    const float again = sqrtf(sum_of_squares(args.dim, [&](uint32_t i) { return x[i] / most; }));
    length = far ? again : length;
  }
  __syncwarp();  // before a row is written that another lane still reads
  if (row >= args.rows) return;
  const float by = length > 0 ? length : 1;
  for (uint32_t i = lane; i < args.dim; i += kParts) args.unit[at + i] = x[i] / most / by;
}

__global__ void __launch_bounds__(kThreads) add_kernel(const AddArgs args) {
  const uint32_t lane = threadIdx.x % kLanes, row = row_of_lanes();
  const uint64_t mine = row < args.rows ? row : 0;
  const float* x = args.x + mine * args.x_stride;
  const float* y = args.y + mine * args.y_stride;
  const float scale = args.away ? -inverse_length(args.dim, [&](uint32_t i) { return y[i]; }) : args.scale;
  if (row >= args.rows) return;
  float* out = args.out + mine * args.out_stride;
  for (uint32_t i = lane; i < args.dim; i += kLanes) {
    const float product = y[i] * scale;
    out[i] = x[i] + product;
  }
}

// A thread 8 dims.
__global__ void __launch_bounds__(kThreads) plane_kernel(const PlaneArgs args) {
  const uint64_t at = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint32_t groups = args.width / 8;
  const auto row = static_cast<uint32_t>(at / groups), group = static_cast<uint32_t>(at % groups);
  if (row >= args.rows) return;
  const float* values = args.values + static_cast<uint64_t>(row) * args.stride + group * 8;
  float* v = args.v + static_cast<uint64_t>(row) * args.v_stride + group * 8;
  uint32_t byte = 0;
#pragma unroll
  for (uint32_t j = 0; j < 8; ++j) {
    const bool above = values[j] >= 0;
    byte |= static_cast<uint32_t>(above) << j;
    v[j] += above ? args.weight : -args.weight;
  }
  args.planes[static_cast<uint64_t>(row) * args.row_bytes + args.offset + group] = static_cast<uint8_t>(byte);
}

__global__ void __launch_bounds__(kThreads) approximate_kernel(const __grid_constant__ ApproximateArgs args) {
  const uint64_t at = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint32_t groups = args.stride / 8;
  const auto row = static_cast<uint32_t>(at / groups), first = static_cast<uint32_t>(at % groups) * 8;
  if (row >= args.rows) return;
  const float* values = args.values + static_cast<uint64_t>(row) * args.stride + first;
  uint32_t row_bytes = 0;
  for (uint32_t t = 0; t < args.spec.planes; ++t) row_bytes += args.spec.widths[t] / 8;
  float v[8];
#pragma unroll
  for (uint32_t j = 0; j < 8; ++j) v[j] = 0;
  float weight = 1;
  uint64_t offset = static_cast<uint64_t>(row) * row_bytes;
  for (uint32_t t = 0; t < args.spec.planes && first < args.spec.widths[t]; ++t, weight /= 2) {
    uint32_t byte = 0;
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) {
      const bool above = values[j] >= v[j];
      byte |= static_cast<uint32_t>(above) << j;
      v[j] += above ? weight : -weight;
    }
    if (args.planes != nullptr) args.planes[offset + first / 8] = static_cast<uint8_t>(byte);
    offset += args.spec.widths[t] / 8;
  }
  const bool beyond = first >= args.spec.widths[0];
  if (args.v != nullptr) {
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) args.v[static_cast<uint64_t>(row) * args.stride + first + j] = beyond ? 1 : v[j];
  }
  if (args.error != nullptr) {
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j)
      args.error[static_cast<uint64_t>(row) * args.stride + first + j] = beyond ? 0 : values[j] - v[j];
  }
}

__global__ void __launch_bounds__(kThreads) norms_kernel(const NormArgs args) {
  const uint32_t lane = threadIdx.x % kLanes, row = row_of_lanes();
  const uint64_t mine = row < args.rows ? row : 0;
  const float* product = args.product + mine * args.stride;
  double total = 0;
  if (args.v == nullptr) {
    total = squared_length(args.count, [&](uint32_t i) { return product[i]; });
  } else {
    const float* v = args.v + mine * args.v_stride;
    float sum = 0;
    for (uint32_t j = lane % 8; j < args.count; j += 8) sum += v[j] * product[j];
    total = static_cast<double>(args.constant);
    for (uint32_t i = 0; i < 8; ++i)
      total += static_cast<double>(__shfl_sync(kWholeWarp, sum, static_cast<int>(threadIdx.x % kWarp - lane + i)));
    total = total < 0 ? 0 : total;
  }
  if (row < args.rows && lane == 0) args.norms[row] = static_cast<float>(total);
}

dim3 blocks_of_rows(uint32_t rows) { return {(rows + kThreads / kLanes - 1) / (kThreads / kLanes), 1, 1}; }

}  // namespace

void enter(const EnterArgs& args) { launch(enter_kernel, blocks_of_rows(args.rows), kThreads, 0, args); }

void approximate(const ApproximateArgs& args) {
  const uint64_t threads = static_cast<uint64_t>(args.rows) * (args.stride / 8);
  launch(approximate_kernel, dim3{static_cast<unsigned>((threads + kThreads - 1) / kThreads), 1, 1}, kThreads, 0, args);
}

void measure(const LengthArgs& args) {
  constexpr uint32_t kRows = kThreads / kParts;
  launch(measure_kernel, dim3{(args.rows + kRows - 1) / kRows, 1, 1}, kThreads, 0, args);
}

void add(const AddArgs& args) { launch(add_kernel, blocks_of_rows(args.rows), kThreads, 0, args); }

void add_plane(const PlaneArgs& args) {
  const uint64_t threads = static_cast<uint64_t>(args.rows) * (args.width / 8);
  launch(plane_kernel, dim3{static_cast<unsigned>((threads + kThreads - 1) / kThreads), 1, 1}, kThreads, 0, args);
}

void norms(const NormArgs& args) { launch(norms_kernel, blocks_of_rows(args.rows), kThreads, 0, args); }

}  // namespace bebr::cuda
