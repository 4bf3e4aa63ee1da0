// The specification of every integer kernel, written for reading. The other files must give the same bits.
//
// Bounds (kernels.h): a table sum is at most 254 * 512 groups, a y8 dot product at most 127 * 512, a y16 dot product
// below 2^31: int32 holds all of them.
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace bebr {
namespace {

// The sign plane's scan: a 16-entry table for each nibble.
void scan_table_scalar(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                       size_t stride) noexcept {
  for (uint32_t q = 0; q < queries.count; ++q) {
    const uint8_t* table = queries.tables + q * table_bytes(queries.groups);
    for (size_t row = 0; row < blocks * kBlockRows; ++row) {
      int32_t sum = 0;
      for (uint32_t g = 0; g < queries.groups; ++g) {
        const uint8_t byte = data[sign_offset(queries.groups, row, g)];
        const uint8_t* low = table + g / 4 * 128 + g % 4 * 16;
        const uint8_t* high = low + 64;
        sum += low[byte & 15] + high[byte >> 4];
      }
      sums[q * stride + row] = sum - queries.bias[q];
    }
  }
}

size_t select_scalar(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                     const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                     uint32_t* kept_rows, float* kept_scores) noexcept {
  size_t kept = 0;
  for (size_t i = 0; i < rows; ++i) {
    if (mask != nullptr && (mask[i / 16] >> (i % 16) & 1) == 0) continue;
    const float product = scale * static_cast<float>(sums[i]);
    float score = base + product;
    if (mode == Factor::Mul) score = score * code.value(factors + i * code.bytes);
    if (mode == Factor::Sub) score = score - code.value(factors + i * code.bytes);
    if (!(score > threshold)) continue;  // also drops NaN
    kept_rows[kept] = first_row + static_cast<uint32_t>(i);
    kept_scores[kept] = score;
    ++kept;
  }
  return kept;
}

// sum_{j < width} y16[j] r[j].
int32_t plane_sum(const uint8_t* bits, uint32_t width, const int16_t* y16) noexcept {
  int32_t sum = 0;
  for (uint32_t j = 0; j < width; ++j) {
    const bool plus = (bits[j / 8] >> (j % 8) & 1) != 0;
    sum += plus ? y16[j] : -y16[j];
  }
  return sum;
}

void complete_scalar(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                     size_t count, int32_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  for (size_t i = 0; i < count; ++i) {
    uint8_t sign[kMaxDims / 8];
    for (uint32_t g = 0; g < spec.groups(); ++g) sign[g] = view.blocks[sign_offset(spec.groups(), rows[i], g)];
    const uint8_t* rest = view.rest + size_t{rows[i]} * spec.rest_bytes();
    int32_t sum = 0;
    for (uint32_t t = 0; t < spec.planes; ++t) {
      const bool here = range.first <= t && t < range.last;
      sum = 2 * sum + (here ? plane_sum(t == 0 ? sign : rest, spec.widths[t], y16) : 0);
      if (t > 0) rest += spec.widths[t] / 8;
    }
    out[i] = sum;
  }
}

void permute_scalar(const uint8_t* from, const uint16_t* at, size_t bytes, uint8_t* to) noexcept {
  for (size_t i = 0; i < bytes; ++i) to[i] = from[at[i]];
}

// `total` only spares the fast versions a pass over y.
void dot_bits8_scalar(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t,
                      const uint32_t* rows, size_t count, int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    int32_t sum = 0;
    for (uint32_t b = 0; b < 8 * bytes; ++b) sum += (row[b / 8] >> (b % 8) & 1) != 0 ? y[b] : -y[b];
    out[i] = sum;
  }
}

void dot_bits16_scalar(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                       int32_t, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    int32_t sum = 0;
    for (uint32_t b = 0; b < 8 * bytes; ++b) {
      const int32_t entry = weights[b] * y[b];
      sum += (row[b / 8] >> (b % 8) & 1) != 0 ? entry : -entry;
    }
    out[i] = sum;
  }
}

void dot_int8_scalar(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                     int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = data + rows[i] * dims;
    int32_t sum = 0;
    for (size_t j = 0; j < dims; ++j) sum += a[j] * row[j];
    out[i] = sum;
  }
}

}  // namespace

void bind_scalar(Kernels& table) noexcept {
  table.scan_table = scan_table_scalar;
  table.scan_batch = scan_table_scalar;
  table.select = select_scalar;
  table.complete = complete_scalar;
  table.permute = permute_scalar;
  table.dot_bits8 = dot_bits8_scalar;
  table.dot_bits16 = dot_bits16_scalar;
  table.dot_int8 = dot_int8_scalar;
}

}  // namespace bebr
