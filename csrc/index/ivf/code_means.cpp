#include "index/ivf/code_means.h"

#include <algorithm>

#include "code/planes.h"

namespace bebr {
namespace {

constexpr size_t kMost = 32;  // rows of a list, evenly spaced

}  // namespace

void CodeMeans::reserve(const RowFormat& format, size_t count) {
  lists.reserve(count);
  weights.reserve(count);
  values.reserve(count * format.spec.dims());
}

void CodeMeans::append(const RowFormat& format, const RowView& from, std::span<const uint32_t> rows, uint32_t list) {
  if (rows.empty()) return;
  const CodeSpec& spec = format.spec;
  const size_t dims = spec.dims(), count = std::min(rows.size(), kMost);
  uint8_t row[kMaxPlanes * kMaxDims / 8];
  float v[kMaxDims];
  values.resize(values.size() + dims);
  float* sum = values.data() + values.size() - dims;
  float total = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t at = rows[i * rows.size() / count];
    get_row(from.scan(spec), at, row);
    unpack_row(spec, row, v);
    const float f = format.factor == Factor::Mul ? format.code.value(from.factors + at * format.code.bytes) : 1;
    for (size_t j = 0; j < dims; ++j) sum[j] += f * v[j];
    total += f;
  }
  for (size_t j = 0; total > 0 && j < dims; ++j) sum[j] /= total;
  weights.push_back(total / static_cast<float>(count));
  lists.push_back(list);
}

}  // namespace bebr
