#include "index/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"

namespace bebr {

RowView RowView::part(const RowFormat& format, size_t first, size_t count) const noexcept {
  RowView part = rows_from(format, first, count);
  part.blocks = blocks + first / kBlockRows * block_bytes(format.spec);
  return part;
}

RowView RowView::rows_from(const RowFormat& format, size_t first, size_t count) const noexcept {
  RowView part = *this;
  part.blocks = nullptr;
  part.rest += first * format.spec.rest_bytes();
  if (factors != nullptr) part.factors += first * format.code.bytes;
  if (stage_factors != nullptr) part.stage_factors += first * format.code.bytes;
  part.ids += first;
  part.rows = count;
  return part;
}

void copy_row(const RowFormat& format, const RowView& view, size_t at, Rows& out) {
  const size_t row_bytes = format.spec.row_bytes(), width = format.code.bytes;
  out.planes.resize(out.planes.size() + row_bytes);
  get_row(view.scan(format.spec), at, out.planes.data() + out.planes.size() - row_bytes);
  for (const uint8_t* stored : {view.factors, view.stage_factors})
    if (stored != nullptr) out.factors.insert(out.factors.end(), stored + at * width, stored + (at + 1) * width);
  out.ids.push_back(view.ids[at]);
}

void RowStore::append(const RowFormat& format, size_t n, const uint8_t* planes, const uint8_t* factors,
                      const int64_t* ids) {
  const size_t first = rows_, width = format.code.bytes, row_bytes = format.spec.row_bytes();
  const size_t factor_bytes = format.factor_bytes();
  resize(format, first + n);
  for (size_t i = 0; i < n; ++i) put_row(format.spec, planes + i * row_bytes, first + i, blocks_.data(), rest_.data());
  for (size_t i = 0; i < n && format.factor != Factor::None; ++i)
    std::memcpy(factors_.data() + (first + i) * width, factors + i * factor_bytes, width);
  for (size_t i = 0; i < n && format.stage_factor; ++i)
    std::memcpy(stage_factors_.data() + (first + i) * width, factors + (i + 1) * factor_bytes - width, width);
  std::copy_n(ids, n, ids_.as<int64_t>() + first);
}

// A filter copies thousands of rows out while its queries wait.
void RowStore::append(const RowFormat& format, const RowView& from, std::span<const uint32_t> rows) {
  const size_t first = rows_, width = format.code.bytes;
  resize(format, first + rows.size());
  copy_rows(from.scan(format.spec), rows.data(), rows.size(), first, blocks_.data(), rest_.data());
  const auto copy = [&](Buffer& to, const uint8_t* stored) {
    if (stored == nullptr) return;
    uint8_t* out = to.data() + first * width;
    if (width == 1) {  // by size: a call of memcpy for a byte or two is dear
      for (size_t i = 0; i < rows.size(); ++i) out[i] = stored[rows[i]];
    } else if (width == 2) {
      for (size_t i = 0; i < rows.size(); ++i) std::memcpy(out + 2 * i, stored + size_t{2} * rows[i], 2);
    } else {
      for (size_t i = 0; i < rows.size(); ++i) std::memcpy(out + i * width, stored + rows[i] * width, width);
    }
  };
  copy(factors_, from.factors);
  copy(stage_factors_, from.stage_factors);
  for (size_t i = 0; i < rows.size(); ++i) ids_.as<int64_t>()[first + i] = from.ids[rows[i]];
}

void RowStore::remove(const RowFormat& format, size_t at) noexcept {
  const size_t last = rows_ - 1, width = format.code.bytes;
  if (at != last) {
    uint8_t row[kMaxPlanes * kMaxDims / 8];
    get_row(view().scan(format.spec), last, row);
    put_row(format.spec, row, at, blocks_.data(), rest_.data());
    for (Buffer* stored : {&factors_, &stage_factors_})
      if (stored->size() > 0) std::memcpy(stored->data() + at * width, stored->data() + last * width, width);
    ids_.as<int64_t>()[at] = ids_.as<int64_t>()[last];
  }
  resize(format, last);
}

// fn(buffer, bytes) for what `rows` rows take.
template <typename Fn>
void RowStore::each_buffer(const RowFormat& format, size_t rows, const Fn& fn) {
  fn(blocks_, block_count(rows) * block_bytes(format.spec));
  fn(rest_, rows * format.spec.rest_bytes());
  fn(factors_, format.factor == Factor::None ? 0 : rows * format.code.bytes);
  fn(stage_factors_, format.stage_factor ? rows * format.code.bytes : 0);
  fn(ids_, rows * sizeof(int64_t));
}

void RowStore::reserve(const RowFormat& format, size_t rows) {
  each_buffer(format, rows, [](Buffer& buffer, size_t bytes) { buffer.reserve(bytes); });
}

void RowStore::grow(const RowFormat& format, size_t rows) {
  each_buffer(format, rows, [](Buffer& buffer, size_t bytes) { buffer.grow(bytes); });
}

void RowStore::assign(const RowFormat& format, const RowView& from) {
  resize(format, from.rows);
  const auto copy = [](Buffer& to, const uint8_t* bytes) {
    if (to.size() > 0) std::memcpy(to.data(), bytes, to.size());
  };
  copy(blocks_, from.blocks);
  copy(rest_, from.rest);
  copy(factors_, from.factors);
  copy(stage_factors_, from.stage_factors);
  copy(ids_, reinterpret_cast<const uint8_t*>(from.ids));
}

// Room first, in all buffers, and only then sizes: where memory is short, nothing has changed.
void RowStore::resize(const RowFormat& format, size_t rows) {
  grow(format, rows);
  each_buffer(format, rows, [](Buffer& buffer, size_t bytes) { buffer.resize(bytes); });
  rows_ = rows;
}

void check_factors(const RowFormat& format, size_t n, const uint8_t* factors) {
  const uint32_t per_row = format.factors();
  for (size_t i = 0; i < n * per_row; ++i) {
    const FactorCode& code = i % per_row == 0 && format.factor != Factor::None ? format.code : format.stage_code;
    const float f = code.value(factors + i * code.bytes);
    if (!std::isfinite(f) || (format.factor == Factor::Mul && f < 0))
      fail(ErrorCode::InvalidArgument, "factors[" + std::to_string(i / per_row) + "] is " + std::to_string(f) +
                                           ": want a finite number, not negative for 'mul'");
  }
}

}  // namespace bebr
