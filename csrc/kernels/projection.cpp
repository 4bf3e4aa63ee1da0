#include "kernels/projection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace bebr {
namespace {

constexpr size_t kPanel = 32;  // PackedProjection
constexpr size_t kChunk = 96;  // rows whose integers stand in memory at a time
// The length of integers: rounding adds half to each, so up to 2^20 of them stay below the 2^15 of Kernels::project.
constexpr double kLength = 32000;

// Adding it leaves the nearest whole number of a float, of equally near ones the even one, in the low 16 bits.
constexpr float kRound = 0x1.8p23f;

double square_sum(const float* x, size_t n) noexcept {
  constexpr size_t kLanes = 16;
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  for (; i < n; ++i) lanes[i % kLanes] += x[i] * x[i];
  double sum = 0;
  for (const float lane : lanes) sum += double{lane};
  if (sum > 0x1p-80 && std::isfinite(sum)) return sum;
  sum = 0;  // squares that are too large or too small for a float
  for (i = 0; i < n; ++i) sum += double{x[i]} * double{x[i]};
  return sum;
}

// Integers of the n entries of x, kLength long; returns what they are to be multiplied with.
float integers(const float* x, size_t n, int16_t* to) noexcept {
  const double length = std::sqrt(square_sum(x, n));
  if (length == 0) {
    std::fill_n(to, n, int16_t{0});
    return 0;
  }
  const double factor = kLength / length;
  if (factor <= double{std::numeric_limits<float>::max()}) {
    const auto by = static_cast<float>(factor);
    for (size_t i = 0; i < n; ++i) to[i] = static_cast<int16_t>(std::bit_cast<uint32_t>(x[i] * by + kRound));
  } else {
    for (size_t i = 0; i < n; ++i) to[i] = static_cast<int16_t>(std::nearbyint(double{x[i]} * factor));
  }
  return static_cast<float>(length / kLength);
}

}  // namespace

Projection::Projection(const float* weight, uint32_t in, uint32_t out) : in_(in), out_(out) {
  const size_t padded = round_up(out, kPanel), pairs = (size_t{in} + 1) / 2;
  pairs_.resize(padded * pairs * 2 * sizeof(int16_t));
  scale_.resize(padded * sizeof(float));
  Buffer row(in * sizeof(int16_t));
  for (size_t o = 0; o < out; ++o) {
    scale_.as<float>()[o] = integers(weight + o * in, in, row.as<int16_t>());
    int16_t* to = pairs_.as<int16_t>() + o / kPanel * pairs * 2 * kPanel + o % kPanel * 2;
    for (size_t k = 0; k < in; ++k) to[k / 2 * 2 * kPanel + k % 2] = row.as<int16_t>()[k];
  }
}

void Projection::forward(const Kernels& kernels, const float* x, size_t rows, float* y, size_t y_stride) const {
  static thread_local Buffer integers_buffer, out_buffer;  // kept by the thread
  // An odd number of cache lines: rows that are a power of two apart would all fall into one set.
  const size_t stride = (round_up(in_, 32) / 32 | 1) * 32, out_stride = round_up(out_, kPanel);
  const size_t needed = std::min(rows, kChunk);
  const bool direct = y_stride >= out_stride;
  integers_buffer.resize(std::max(integers_buffer.size(), needed * stride * sizeof(int16_t)));
  if (!direct) out_buffer.resize(std::max(out_buffer.size(), needed * out_stride * sizeof(float)));
  auto* entries = integers_buffer.as<int16_t>();
  float *out = out_buffer.as<float>(), by[kChunk];
  const PackedProjection packed{in_, out_, pairs_.as<int16_t>(), scale_.as<float>()};
  for (size_t row = 0; row < rows; row += kChunk) {
    const size_t count = std::min(kChunk, rows - row);
    for (size_t i = 0; i < count; ++i) {
      by[i] = integers(x + (row + i) * in_, in_, entries + i * stride);
      if (in_ % 2 != 0) entries[i * stride + in_] = 0;  // makes the last pair whole
    }
    float* to = y + row * y_stride;
    if (direct) {
      kernels.project(entries, count, stride, by, packed, to, y_stride);
      continue;
    }
    kernels.project(entries, count, stride, by, packed, out, out_stride);
    for (size_t i = 0; i < count; ++i) std::copy_n(out + i * out_stride, out_, to + i * y_stride);
  }
}

}  // namespace bebr
