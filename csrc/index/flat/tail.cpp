#include "index/flat/tail.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"

namespace bebr {

size_t TailRows::size() const {
  const std::lock_guard lock(mutex_);
  return rows_;
}

RowView TailRows::view(size_t rows) const {
  const Storage& s = *storage_;
  return {s.blocks.data(), s.rest.data(), s.factors.data(), s.stage_factors.data(), s.ids.as<int64_t>(), rows};
}

void TailRows::grow(size_t rows) {
  if (rows <= storage_->capacity) return;
  auto grown = std::make_shared<Storage>();
  grown->capacity = round_up(std::max({rows, 2 * storage_->capacity, size_t{256}}), kBlockRows);
  const size_t width = format_.code.bytes, full = rows_ / kBlockRows;
  const auto copy = [&](Buffer Storage::* buffer, size_t bytes_each, size_t count, size_t capacity) {
    (*grown.*buffer).reserve(capacity * bytes_each);
    if (count * bytes_each > 0) std::memcpy((*grown.*buffer).data(), (*storage_.*buffer).data(), count * bytes_each);
  };
  copy(&Storage::blocks, block_bytes(format_.spec), full, grown->capacity / kBlockRows);
  copy(&Storage::rest, format_.spec.rest_bytes(), rows_, grown->capacity);
  copy(&Storage::factors, format_.factor == Factor::None ? 0 : width, rows_, grown->capacity);
  copy(&Storage::stage_factors, format_.stage_factor ? width : 0, rows_, grown->capacity);
  copy(&Storage::ids, sizeof(int64_t), rows_, grown->capacity);
  storage_ = std::move(grown);
}

void TailRows::reserve(size_t rows) {
  const std::lock_guard lock(mutex_);
  newest_.reserve(rows);
  grow(rows);
}

void TailRows::append(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids) {
  for (size_t i = 0; i < n; ++i)
    if (ids[i] < 0)
      fail(ErrorCode::InvalidArgument,
           "ids[" + std::to_string(i) + "] is " + std::to_string(ids[i]) + ": want ids >= 0");
  check_factors(format_, n, factors);
  const std::lock_guard lock(mutex_);
  if (rows_ + n > UINT32_MAX - kBlockRows) fail(ErrorCode::LimitExceeded, "a tail holds at most 2^32 - 16 rows");
  newest_.reserve(newest_.size() + n);
  if (open_.size() == 0) open_.resize(block_bytes(format_.spec));
  grow(rows_ + n);
  // From here on nothing can fail.
  Storage& to = *storage_;
  const size_t row_bytes = format_.spec.row_bytes(), rest_bytes = format_.spec.rest_bytes(), width = format_.code.bytes;
  for (size_t i = 0; i < n; ++i, ++rows_) {
    const size_t in_block = rows_ % kBlockRows, first = rows_ - in_block;
    const uint8_t* factor = factors + i * format_.factor_bytes();
    put_row(format_.spec, planes + i * row_bytes, in_block, open_.data(), to.rest.data() + first * rest_bytes);
    if (format_.factor != Factor::None) std::memcpy(to.factors.data() + rows_ * width, factor, width);
    if (format_.stage_factor)
      std::memcpy(to.stage_factors.data() + rows_ * width, factor + format_.factor_bytes() - width, width);
    to.ids.as<int64_t>()[rows_] = ids[i];
    newest_.set(ids[i], static_cast<uint32_t>(rows_));
    if (in_block + 1 < kBlockRows) continue;
    std::memcpy(to.blocks.data() + first / kBlockRows * open_.size(), open_.data(), open_.size());
    std::memset(open_.data(), 0, open_.size());
  }
}

std::shared_ptr<const FlatSegment> TailRows::freeze() const {
  struct Kept {
    std::shared_ptr<const Storage> storage;
    RowStore last;
  };
  const auto kept = std::make_shared<Kept>();
  const std::lock_guard lock(mutex_);
  const size_t full = rows_ / kBlockRows * kBlockRows;
  kept->storage = storage_;
  const int64_t* ids = storage_->ids.as<int64_t>();
  std::vector<RowView> views;
  if (full > 0) views.push_back(view(full));
  if (rows_ > full) {
    RowView last = view(rows_).part(format_, full, rows_ - full);
    last.blocks = open_.data();
    kept->last.assign(format_, last);
    views.push_back(kept->last.view());
  }
  return std::make_shared<const FlatSegment>(format_, std::move(views), std::span(ids, rows_), kept);
}

void TailRows::positions(std::span<const int64_t> ids, int64_t* out) const {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < ids.size(); ++i) {
    const uint32_t* found = ids[i] < 0 ? nullptr : newest_.find(ids[i]);
    out[i] = found != nullptr ? int64_t{*found} : -1;
  }
}

}  // namespace bebr
