#include "index/query.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/threads.h"
#include "index/raise.h"
#include "index/rounding.h"

namespace bebr {
namespace {

constexpr double kLeftOut = 1.0 / 24;  // of the variance that a scan of signs cannot see: leading_groups

// Entry n of a nibble: sum (bit ? +y : -y) + sum |y|. Setting bit i adds 2 y[i]; bytes wrap, and no entry is above 254.
// The loop over n becomes vectors.
void fill_nibble(const int8_t* y, uint8_t* table) {
  static constexpr uint8_t kSet[4][16] = {
      {0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255},
      {0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255},
      {0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255},
      {0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255},
  };
  int none = 0;
  uint8_t twice[4];
  for (int i = 0; i < 4; ++i) {
    none += std::abs(y[i]) - y[i];
    twice[i] = static_cast<uint8_t>(2 * y[i]);
  }
  const uint8_t first = static_cast<uint8_t>(none), a = twice[0], b = twice[1], c = twice[2], d = twice[3];
  for (int n = 0; n < 16; ++n)
    table[n] = static_cast<uint8_t>(first + (kSet[0][n] & a) + (kSet[1][n] & b) + (kSet[2][n] & c) + (kSet[3][n] & d));
}

// Query q of `c` from y[dims], with its tables where there is room for them.
void make_lut_query(const float* y, size_t q, LutQueries& c) {
  const uint32_t groups = c.leading.empty() ? c.groups : c.leading[q];
  float largest = 0;  // over byte groups, of sum |y|
  for (uint32_t g = 0; g < groups; ++g) {
    float sum = 0;
    for (uint32_t j = 8 * g; j < 8 * g + 8; ++j) sum += std::fabs(y[j]);
    largest = std::max(largest, sum);
  }
  // Rounding adds at most 1/2 to each of 8 entries: 123 + 4 = 127, the bound of ScanQueries.
  const float scale = largest > 0 ? largest / 123 : 1;
  int8_t* y8 = c.y8.as<int8_t>() + q * y8_stride(c.groups);
  int32_t bias = 0;
  for (uint32_t j = 0; j < 8 * groups; ++j) {
    y8[j] = static_cast<int8_t>(nearest(y[j] / scale));
    bias += std::abs(y8[j]);
  }
  c.bias[q] = bias;
  c.scale[q] = scale;
  if (c.tables.size() == 0) return;
  uint8_t* table = c.tables.data() + q * table_bytes(c.groups);
  for (uint32_t g = 0; g < groups; ++g) {
    uint8_t* quad = table + g / 4 * 128 + g % 4 * 16;
    fill_nibble(y8 + 8 * g, quad);
    fill_nibble(y8 + 8 * g + 4, quad + 64);
  }
}

}  // namespace

FineQuery make_fine_query(const CodeSpec& spec, const float* y) {
  constexpr double kLargest = 32767, kLargestSum = 2.0e9;  // 2^31 less what rounding 4096 entries can add
  const double largest = double{largest_size(y, nullptr, spec.dims())};
  double sums[kLanes] = {};  // side by side, for each addition waits for the one before
  for (uint32_t j = 0; j < spec.dims(); j += kLanes)
    for (uint32_t lane = 0; lane < kLanes; ++lane) sums[lane] += double{std::fabs(y[j + lane])};
  double sum = 0;
  for (const double one : sums) sum += one;
  const double smallest = std::max(largest / kLargest, sum * ((1u << spec.planes) - 1) / kLargestSum);
  int exponent = 0;  // smallest <= 2^exponent
  if (smallest > kNothing && std::frexp(smallest, &exponent) == 0.5) --exponent;
  const double step = std::ldexp(1, exponent);

  FineQuery fine;
  fine.y16.resize(y16_stride(spec.dims()) * sizeof(int16_t));
  fine.scale = step / (1u << (spec.planes - 1));
  // step is a power of two: the products are exact.
  const float per_step = static_cast<float>(1 / step);
  int16_t* y16 = fine.y16.as<int16_t>();
  for (uint32_t j = 0; j < spec.dims(); ++j) y16[j] = static_cast<int16_t>(nearest(y[j] * per_step));
  int32_t set = 0;  // of the dims so far, which are those of the plane before t once its width is reached
  uint32_t j = 0;
  for (uint32_t t = spec.planes; t-- > 0;) {
    for (; j < spec.widths[t]; ++j) set += y16[j];
    fine.ones[t + 1] = set * (1 << (spec.planes - 1 - t));
  }
  for (uint32_t t = 0; t < spec.planes; ++t) fine.ones[t + 1] += fine.ones[t];
  return fine;
}

void fine_values(const CodeSpec& spec, const FineQuery& fine, float* y) {
  const double step = fine.scale * (1u << (spec.planes - 1));
  for (uint32_t j = 0; j < spec.dims(); ++j) y[j] = static_cast<float>(step * fine.y16.as<int16_t>()[j]);
}

LutQueries make_lut_queries(const CodeSpec& spec, const float* y, size_t count, size_t stride, bool tables,
                            std::vector<uint32_t> leading) {
  LutQueries c;
  c.groups = spec.groups();
  c.leading = std::move(leading);
  if (tables) c.tables.resize(count * table_bytes(c.groups));
  c.y8.resize(count * y8_stride(c.groups));
  c.bias.resize(count);
  c.scale.resize(count);
  parallel_for(count, kFewestQueries, [&](size_t begin, size_t end) {
    for (size_t q = begin; q < end; ++q) make_lut_query(y + q * stride, q, c);
  });
  return c;
}

double scan_margin(const CodeSpec& spec, const FineQuery& fine, const int8_t* y8, float scale8) {
  const double step = fine.scale * (1u << (spec.planes - 1));
  const int16_t* y16 = fine.y16.as<int16_t>();
  double rounding = 0;
  for (uint32_t j = 0; j < spec.dims(); ++j) rounding += std::fabs(step * y16[j] - double{scale8} * y8[j]);
  // One part in 10^5 more than the float arithmetic of select can lose.
  return (rounding + unread_bound(spec, fine)) * (1 + 1e-5);
}

double unread_bound(const CodeSpec& spec, const FineQuery& fine) {
  const double step = fine.scale * (1u << (spec.planes - 1));
  double l1 = 0, y_squared = 0, v_squared = 0;
  for (uint32_t j = 0; j < spec.dims(); ++j) {
    const double y = step * fine.y16.as<int16_t>()[j];
    const double unread = 1 - std::exp2(1 - static_cast<double>(spec.depth(j)));  // largest |v_j - r_0j|
    l1 += std::fabs(y) * unread;
    if (unread > 0) {
      y_squared += y * y;
      v_squared += unread * unread;
    }
  }
  return std::min(l1, std::sqrt(y_squared * v_squared));
}

double unread_variance(const CodeSpec& spec, const float* y, uint32_t read) {
  double variance = 0;
  float sum = 0;  // of y^2 over the dims of plane t, shortest plane first
  uint32_t j = 0;
  for (uint32_t t = spec.planes; t-- > read;) {
    for (; j < spec.widths[t]; ++j) sum += y[j] * y[j];
    variance += double{sum} * std::exp2(-2 * static_cast<double>(t));
  }
  return variance;
}

uint32_t leading_groups(const CodeSpec& spec, const float* y, const float* stage_y) {
  const auto variance = [&](const float* of, uint32_t from, uint32_t to) {
    float sum = 0;
    for (uint32_t j = from; j < to; ++j) sum += of[j] * of[j];
    return double{sum};
  };
  // As a share of it, for a decoder of signs alone has a scale of its own.
  const double seen = variance(y, 0, spec.dims());
  if (!(seen > 0)) return spec.groups();
  double left = kLeftOut * unread_variance(spec, y, 1) / seen * variance(stage_y, 0, spec.dims());
  uint32_t groups = spec.groups();
  while (groups > kFewestLeading) {
    const uint32_t fewer = (groups - 1) / 4 * 4;
    left -= variance(stage_y, 8 * fewer, 8 * groups);
    if (!(left > 0)) break;
    groups = fewer;
  }
  return groups;
}

double scan_deviation(const CodeSpec& spec, const float* y, float scale8) {
  const double rounding = double{scale8} * double{scale8} * spec.dims() / 12;
  return std::sqrt(unread_variance(spec, y, 1) + rounding);
}

}  // namespace bebr
