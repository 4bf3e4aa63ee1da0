#include "index/rows.h"

#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"

namespace bebr {

RowView RowView::part(const RowFormat& format, size_t first, size_t count) const noexcept {
  RowView part = *this;
  part.blocks += first / kBlockRows * block_bytes(format.spec);
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

void RowStore::append(const RowFormat& format, const uint8_t* planes, const uint8_t* factors, int64_t id) {
  const size_t at = view_.rows, width = format.code.bytes;
  resize(format, at + 1);
  put_row(format.spec, planes, at, blocks_.data(), rest_.data());
  if (format.factor != Factor::None) std::memcpy(factors_.data() + at * width, factors, width);
  if (format.stage_factor)
    std::memcpy(stage_factors_.data() + at * width, factors + format.factor_bytes() - width, width);
  ids_.as<int64_t>()[at] = id;
}

void RowStore::append(const RowFormat& format, const RowView& from, size_t at) {
  static thread_local Rows row;  // a filter copies thousands of rows out while its queries wait
  row.planes.clear(), row.factors.clear(), row.ids.clear();
  copy_row(format, from, at, row);
  append(format, row.planes.data(), row.factors.data(), row.ids[0]);
}

void RowStore::remove(const RowFormat& format, size_t at) {
  const size_t last = view_.rows - 1, width = format.code.bytes;
  if (at != last) {
    std::vector<uint8_t> row(format.spec.row_bytes());
    get_row(view_.scan(format.spec), last, row.data());
    put_row(format.spec, row.data(), at, blocks_.data(), rest_.data());
    for (Buffer* stored : {&factors_, &stage_factors_})
      if (stored->size() > 0) std::memcpy(stored->data() + at * width, stored->data() + last * width, width);
    ids_.as<int64_t>()[at] = ids_.as<int64_t>()[last];
  }
  resize(format, last);
}

void RowStore::reserve(const RowFormat& format, size_t rows) {
  blocks_.reserve(block_count(rows) * block_bytes(format.spec));
  rest_.reserve(rows * format.spec.rest_bytes());
  if (format.factor != Factor::None) factors_.reserve(rows * format.code.bytes);
  if (format.stage_factor) stage_factors_.reserve(rows * format.code.bytes);
  ids_.reserve(rows * sizeof(int64_t));
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

void RowStore::resize(const RowFormat& format, size_t rows) {
  blocks_.resize(block_count(rows) * block_bytes(format.spec));
  rest_.resize(rows * format.spec.rest_bytes());
  if (format.factor != Factor::None) factors_.resize(rows * format.code.bytes);
  if (format.stage_factor) stage_factors_.resize(rows * format.code.bytes);
  ids_.resize(rows * sizeof(int64_t));
  view_ = {blocks_.data(),
           rest_.data(),
           format.factor == Factor::None ? nullptr : factors_.data(),
           format.stage_factor ? stage_factors_.data() : nullptr,
           ids_.as<int64_t>(),
           rows};
}

void check_factors(const RowFormat& format, size_t n, const uint8_t* factors) {
  const uint32_t per_row = format.factors();
  for (size_t i = 0; i < n * per_row; ++i) {
    const FactorCode& code = i % per_row == 0 && format.factor != Factor::None ? format.code : format.stage_code;
    const float f = code.value(factors + i * code.bytes);
    if (!std::isfinite(f) || (format.factor == Factor::Mul && f < 0))
      fail(Code::InvalidArgument, "factors[" + std::to_string(i / per_row) + "] is " + std::to_string(f) +
                                      ": want a finite number, not negative for 'mul'");
  }
}

}  // namespace bebr
