#include "index/graph/record.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "code/layout.h"
#include "code/planes.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr uint32_t kLine = 64;
constexpr uint32_t kLead = 32;
// The share of the variance of the bits beyond the first line that rounding to bytes may add. Beyond it, the line is
// scored with 16-bit entries (docs/experiments/large-values.md).
constexpr float kMostLost = 0.25f;

constexpr size_t kPiece = 16;  // entries a step

}  // namespace

// A byte contributes the variance that it brings to a score: y_j of a document taken as the query is about gram_j v_j.
RecordLayout::RecordLayout(const CodeSpec& spec_, uint32_t factor_bytes_, uint32_t degree_, uint32_t inlined,
                           std::span<const float> gram)
    : spec(spec_), degree(degree_), factor_bytes(factor_bytes_) {
  const uint32_t row = spec.row_bytes();
  factors = kCodeAt + row;
  links = static_cast<uint32_t>(round_up(factors + factor_bytes, 4));
  near = std::min(inlined, row);
  lead = near > 0 ? near : std::min(kLead, row);
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
  for (const Byte& byte : order) {
    groups.push_back(byte.group);
    weights.push_back(1.0f / static_cast<float>(1u << byte.plane));
  }
  std::vector<CodeDigits::Byte> bytes;
  for (const Byte& byte : order) bytes.push_back({byte.group, byte.plane});
  digits = CodeDigits(bytes, kCodeAt, spec.groups());
  unseen.resize(spec.groups());
  for (size_t i = near > 0 ? near : prefix; i < order.size(); ++i) unseen[groups[i]] += weights[i] * weights[i];
  for (float& root : unseen) root = std::sqrt(root);
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

void BitQuery::set(const RecordLayout& layout, const float* y, float base_, const Kernels& kernels) {
  const CodeDigits& code = layout.digits;
  const size_t n = code.entries(), lines = layout.near > 0 ? layout.near : layout.prefix;
  const size_t seen = std::max<size_t>(layout.lead, lines), groups = layout.unseen.size();
  base = base_;
  weighted_.resize(round_up(std::max({n, 8 * seen, 8 * groups}), kPiece));
  const float largest = kernels.largest(y, layout.spec.dims());
  // A power of two, so that dyadic y (the paper's symmetric case) stays exact.
  constexpr float kLeast = 0.125f;  // what the lowest plane of a first digit weighs
  scale16 = largest > 1e-30f ? std::exp2(std::ceil(std::log2(kLeast * largest / kMostEntry16))) : kLeast;
  kernels.weigh(y, code.groups.data(), code.weights.data(), code.groups.size(), weighted_.data());
  digits.resize(entries16_bytes(n));
  kernels.round16(weighted_.data(), n, scale16, digits.as<int16_t>());
  total16 = 0;
  for (size_t i = 0; i < n; ++i) total16 += int32_t{code.most[i]} * digits.as<int16_t>()[i];
  by_digits = kernels.dot_digits != nullptr && code.by_kernel();
  if (!by_digits) set_bits(layout);

  kernels.weigh(y, code.every.data(), layout.unseen.data(), groups, weighted_.data());
  std::fill_n(weighted_.begin() + static_cast<ptrdiff_t>(8 * groups), round_up(8 * groups, kPiece) - 8 * groups, 0.0f);
  const float unseen = kernels.squares(weighted_.data(), round_up(8 * groups, kPiece));
  kernels.weigh(y, layout.groups.data(), layout.weights.data(), seen, weighted_.data());
  near.set({weighted_.data(), 8 * size_t{layout.lead}}, unseen);
  if (layout.near == 0) set_line(layout, kernels, unseen);
}

// All bits of a digit have its entry, and its halves.
void BitQuery::set_bits(const RecordLayout& layout) {
  const CodeDigits& code = layout.digits;
  const size_t bytes = layout.order.size(), all = bits_stride(static_cast<uint32_t>(bytes));
  y16.resize(entries16_bytes(all));
  const int16_t* from = digits.as<int16_t>();
  const auto *low = reinterpret_cast<const int8_t*>(from + code.entries()), *high = low + code.entries();
  int16_t* to = y16.as<int16_t>();
  auto *to_low = reinterpret_cast<int8_t*>(to + all), *to_high = to_low + all;
  for (size_t i = 0; i < bytes; ++i) {
    std::memcpy(to + 8 * i, from + code.entry[i], 8 * sizeof(int16_t));
    std::memcpy(to_low + 8 * i, low + code.entry[i], 8);
    std::memcpy(to_high + 8 * i, high + code.entry[i], 8);
  }
  std::fill(to + 8 * bytes, to + all, int16_t{0});
  std::fill(to_low + 8 * bytes, to_high, int8_t{0});
  std::fill(to_high + 8 * bytes, to_high + all, int8_t{0});
}

void BitQuery::set_line(const RecordLayout& layout, const Kernels& kernels, float unseen) {
  const size_t seen = 8 * size_t{layout.prefix}, seen_stride = bits_stride(layout.prefix);
  const size_t rounded = std::min(round_up(seen, kPiece), seen_stride);
  std::fill(weighted_.begin() + static_cast<ptrdiff_t>(seen), weighted_.begin() + static_cast<ptrdiff_t>(rounded),
            0.0f);
  const float largest8 = kernels.largest(weighted_.data(), seen);
  scale8 = largest8 > 1e-30f ? largest8 / 127 : 1;
  y8.resize(seen_stride);
  const Rounding line = kernels.round8(weighted_.data(), rounded, scale8, y8.as<int8_t>());
  std::fill(y8.as<int8_t>() + rounded, y8.as<int8_t>() + seen_stride, int8_t{0});
  total8 = line.total;
  spread = std::sqrt(unseen);
  wide = line.lost > kMostLost * unseen;
  if (!wide) return;
  if (by_digits) set_bits(layout);
  first16.resize(entries16_bytes(seen_stride));
  int16_t* behind = std::copy_n(y16.as<int16_t>(), seen, first16.as<int16_t>());
  std::fill(behind, first16.as<int16_t>() + seen_stride, int16_t{0});
  split_entries16(first16.as<int16_t>(), seen_stride);
  total_first16 = 0;
  for (size_t b = 0; b < seen; ++b) total_first16 += layout.digits.bits[b] * y16.as<int16_t>()[b];
}

}  // namespace bebr
