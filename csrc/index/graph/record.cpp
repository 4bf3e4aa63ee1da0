#include "index/graph/record.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "code/planes.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr uint32_t kLine = 64;
// The share of the variance of the bits beyond the first line that rounding to bytes may add. Beyond it, the line is
// scored with 16-bit entries (docs/experiments/large-values.md).
constexpr float kMostLost = 0.25f;

}  // namespace

// A byte contributes the variance that it brings to a score: y_j of a document taken as the query is about gram_j v_j.
RecordLayout::RecordLayout(const CodeSpec& spec_, uint32_t factor_bytes_, uint32_t degree_, std::span<const float> gram)
    : spec(spec_), degree(degree_), factor_bytes(factor_bytes_) {
  const uint32_t row = spec.row_bytes();
  factors = kCodeAt + row;
  links = static_cast<uint32_t>(round_up(factors + factor_bytes, 4));
  stride = static_cast<uint32_t>(round_up(links + 4 * degree, kLine));
  prefix = std::min(row, kLine - kCodeAt);
  std::vector<double> tells;
  uint32_t at = 0;
  for (uint32_t t = 0; t < spec.planes; ++t) {
    for (uint32_t g = 0; g < spec.widths[t] / 8; ++g, ++at) {
      order.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(g), static_cast<uint8_t>(t)});
      double sum = 0;
      for (uint32_t j = 8 * g; j < 8 * g + 8; ++j) sum += double{gram[j]} * gram[j];
      tells.push_back(std::ldexp(sum, -2 * static_cast<int>(t)));
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](const Byte& a, const Byte& b) { return tells[a.source] > tells[b.source]; });
  place.resize(row);
  for (size_t i = 0; i < order.size(); ++i) place[order[i].source] = static_cast<uint16_t>(i);
}

void RecordLayout::put_code(const uint8_t* row, uint8_t* record) const noexcept {
  for (size_t i = 0; i < order.size(); ++i) record[kCodeAt + i] = row[order[i].source];
}

void RecordLayout::get_code(const uint8_t* record, uint8_t* row) const noexcept {
  kernels().permute(record + kCodeAt, place.data(), place.size(), row);
}

void RecordLayout::unpack(const uint8_t* record, float* v) const noexcept {
  std::fill_n(v, spec.dims(), 0.0f);
  for (size_t i = 0; i < order.size(); ++i) {
    const float weight = 1.0f / static_cast<float>(1u << order[i].plane);
    const float* sign = kByteSigns.sign[record[kCodeAt + i]];
    float* to = v + 8 * order[i].group;
    for (size_t b = 0; b < 8; ++b) to[b] += weight * sign[b];
  }
}

void BitQuery::set(const RecordLayout& layout, const float* y, float base_) {
  const size_t bytes = layout.order.size();
  base = base_;
  y16.resize(bits_stride(static_cast<uint32_t>(bytes)) * sizeof(int16_t));
  weighted_.resize(8 * bytes);
  float largest = 0;
  for (uint32_t j = 0; j < layout.spec.dims(); ++j) largest = std::max(largest, std::fabs(y[j]));
  for (size_t i = 0; i < bytes; ++i) {
    const float weight = 1.0f / static_cast<float>(1u << layout.order[i].plane);
    for (size_t b = 0; b < 8; ++b) weighted_[8 * i + b] = weight * y[8 * layout.order[i].group + b];
  }
  // A power of two, so that dyadic y (the paper's symmetric case) stays exact.
  scale16 = largest > 1e-30f ? std::exp2(std::ceil(std::log2(largest / 32767))) : 1;
  const float per16 = 1 / scale16;
  int16_t* to16 = y16.as<int16_t>();
  int64_t sum = 0;
  for (size_t b = 0; b < 8 * bytes; ++b) {
    const int32_t entry = nearest(weighted_[b] * per16);
    to16[b] = static_cast<int16_t>(entry);
    sum += entry;
  }
  total16 = static_cast<int32_t>(sum);

  y8.resize(bits_stride(layout.prefix));
  const size_t seen = 8 * size_t{layout.prefix};
  float largest8 = 0;
  for (size_t b = 0; b < seen; ++b) largest8 = std::max(largest8, std::fabs(weighted_[b]));
  scale8 = largest8 > 1e-30f ? largest8 / 127 : 1;
  const float per8 = 1 / scale8;
  int8_t* to8 = y8.as<int8_t>();
  sum = 0;
  for (size_t b = 0; b < seen; ++b) {
    const int32_t entry = nearest(weighted_[b] * per8);
    to8[b] = static_cast<int8_t>(entry);
    sum += entry;
  }
  total8 = static_cast<int32_t>(sum);
  float unseen = 0, lost = 0;
  for (size_t b = seen; b < 8 * bytes; ++b) unseen += weighted_[b] * weighted_[b];
  spread = std::sqrt(unseen);
  for (size_t b = 0; b < seen; ++b) {
    const float off = weighted_[b] - scale8 * static_cast<float>(to8[b]);
    lost += off * off;
  }
  wide = lost > kMostLost * unseen;
  if (!wide) return;
  first16.resize(bits_stride(layout.prefix) * sizeof(int16_t));
  std::copy_n(to16, seen, first16.as<int16_t>());
  total_first16 = std::accumulate(to16, to16 + seen, int32_t{0});
}

}  // namespace bebr
