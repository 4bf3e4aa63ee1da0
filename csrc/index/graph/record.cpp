#include "index/graph/record.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "code/layout.h"
#include "code/planes.h"
#include "index/graph/floats.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr uint32_t kLine = 64;
// The share of the variance of the bits beyond the first line that rounding to bytes may add. Beyond it, the line is
// scored with 16-bit entries (docs/experiments/large-values.md).
constexpr float kMostLost = 0.25f;

constexpr size_t kPiece = 16;  // entries a step

// The largest size among n values, a multiple of 8.
float largest_size(const float* x, size_t n) noexcept {
  Floats largest[2] = {};
  for (size_t i = 0; i < n; i += 8) {
    for (size_t v = 0; v < 2; ++v) {
      const Floats size = size_of(load_floats(x + i + 4 * v));
      largest[v] = size > largest[v] ? size : largest[v];
    }
  }
  const Floats most = largest[0] > largest[1] ? largest[0] : largest[1];
  return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

// 16 running sums, in the order of the values, added by halves.
class RunningSums {
 public:
  void add_squares(size_t v, Floats x) noexcept { sums_[v] += x * x; }
  float total() const noexcept {
    const Floats four = (sums_[0] + sums_[2]) + (sums_[1] + sums_[3]);
    return (four[0] + four[2]) + (four[1] + four[3]);
  }

 private:
  Floats sums_[4] = {};
};

struct Rounded {
  int32_t total;  // of the entries
  float lost;     // squares of what rounding takes away
};

// Entries of x in steps of `step`, n of them, a multiple of 16.
template <typename Entry>
Rounded round_entries(const float* x, size_t n, float step, Entry* to) noexcept {
  const float per = 1 / step;
  Ints total = {};
  RunningSums lost;
  for (size_t b = 0; b < n; b += kPiece) {
    int32_t entries[kPiece];
    for (size_t v = 0; v < 4; ++v) {
      const Floats value = load_floats(x + b + 4 * v);
      const Ints entry = nearest(value * per);
      total += entry;
      lost.add_squares(v, value - step * __builtin_convertvector(entry, Floats));
      std::memcpy(entries + 4 * v, &entry, sizeof entry);
    }
    for (size_t i = 0; i < kPiece; ++i) to[b + i] = static_cast<Entry>(entries[i]);
  }
  return {total[0] + total[1] + total[2] + total[3], lost.total()};
}

float squares(const float* x, size_t n) noexcept {
  RunningSums sums;
  for (size_t b = 0; b < n; b += kPiece)
    for (size_t v = 0; v < 4; ++v) sums.add_squares(v, load_floats(x + b + 4 * v));
  return sums.total();
}

}  // namespace

// A byte contributes the variance that it brings to a score: y_j of a document taken as the query is about gram_j v_j.
RecordLayout::RecordLayout(const CodeSpec& spec_, uint32_t factor_bytes_, uint32_t degree_, uint32_t inlined,
                           std::span<const float> gram)
    : spec(spec_), degree(degree_), factor_bytes(factor_bytes_) {
  const uint32_t row = spec.row_bytes();
  factors = kCodeAt + row;
  links = static_cast<uint32_t>(round_up(factors + factor_bytes, 4));
  near = std::min(inlined, row);
  near_factors = links + 4 * degree;
  near_codes = static_cast<uint32_t>(round_up(near_factors + (near > 0 ? factor_bytes * degree : 0), kLine));
  near_blocks = near > 0 ? static_cast<uint32_t>(block_count(degree)) : 0;
  stride = static_cast<uint32_t>(round_up(near_codes + near_blocks * near * kBlockRows, kLine));
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
  const size_t bytes = layout.order.size(), all = bits_stride(static_cast<uint32_t>(bytes));
  const size_t seen = 8 * size_t{layout.prefix}, seen_stride = bits_stride(layout.prefix);
  base = base_;
  weighted_.resize(all);
  for (size_t i = 0; i < bytes; ++i) {
    const RecordLayout::Byte& byte = layout.order[i];
    const float weight = 1.0f / static_cast<float>(1u << byte.plane);
    for (size_t v = 0; v < 8; v += 4) {
      const Floats part = weight * load_floats(y + 8 * size_t{byte.group} + v);
      std::memcpy(weighted_.data() + 8 * i + v, &part, sizeof part);
    }
  }
  std::fill(weighted_.begin() + static_cast<ptrdiff_t>(8 * bytes), weighted_.end(), 0.0f);
  const float largest = largest_size(y, layout.spec.dims());
  // A power of two, so that dyadic y (the paper's symmetric case) stays exact.
  scale16 = largest > 1e-30f ? std::exp2(std::ceil(std::log2(largest / 32767))) : 1;
  y16.resize(all * sizeof(int16_t));
  total16 = round_entries(weighted_.data(), all, scale16, y16.as<int16_t>()).total;

  const float largest8 = largest_size(weighted_.data(), seen);
  scale8 = largest8 > 1e-30f ? largest8 / 127 : 1;
  y8.resize(seen_stride);
  const size_t rounded = std::min(round_up(seen, kPiece), seen_stride);
  const Rounded line = round_entries(weighted_.data(), rounded, scale8, y8.as<int8_t>());
  std::fill(y8.as<int8_t>() + rounded, y8.as<int8_t>() + seen_stride, int8_t{0});
  total8 = line.total;
  const float unseen = squares(weighted_.data() + rounded, all - rounded);
  spread = std::sqrt(unseen);
  if (layout.near > 0) {
    const size_t inlined = 8 * size_t{layout.near}, further = round_up(inlined, kPiece);
    near.set({weighted_.data(), inlined}, squares(weighted_.data() + further, all - further));
  }
  wide = line.lost > kMostLost * unseen;
  if (!wide) return;
  first16.resize(seen_stride * sizeof(int16_t));
  int16_t* behind = std::copy_n(y16.as<int16_t>(), seen, first16.as<int16_t>());
  std::fill(behind, first16.as<int16_t>() + seen_stride, int16_t{0});
  total_first16 = std::accumulate(y16.as<int16_t>(), y16.as<int16_t>() + seen, int32_t{0});
}

}  // namespace bebr
