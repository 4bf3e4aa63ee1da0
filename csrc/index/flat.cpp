#include "index/flat.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_set>

#include "base/error.h"

namespace bebr {

FlatIndex::FlatIndex(const RowFormat& format) : format_(format) {}

size_t FlatIndex::size() const {
  std::shared_lock lock(mutex_);
  return rows_ - dead_;
}

ScanView FlatIndex::view() const noexcept {
  if (file_) return {format_.spec, mapped_.blocks, mapped_.rest, rows_};
  return {format_.spec, blocks_.data(), rest_.data(), rows_};
}

const uint8_t* FlatIndex::factors() const noexcept {
  if (format_.factor == Factor::None) return nullptr;
  return file_ ? mapped_.factors : factors_.data();
}

const uint8_t* FlatIndex::stage_factors() const noexcept {
  if (!format_.stage_factor) return nullptr;
  return file_ ? mapped_.stage_factors : stage_factors_.data();
}

const int64_t* FlatIndex::ids() const noexcept { return file_ ? mapped_.ids : ids_.as<int64_t>(); }

bool FlatIndex::alive(size_t row) const noexcept { return alive_.empty() || (alive_[row / 16] >> (row % 16) & 1) != 0; }

void FlatIndex::need_map() const {
  std::lock_guard lock(map_mutex_);
  if (map_built_) return;
  row_of_.reserve(rows_);
  const int64_t* id = ids();
  for (size_t i = 0; i < rows_; ++i)
    if (alive(i)) row_of_.emplace(id[i], static_cast<uint32_t>(i));
  map_built_ = true;
}

void FlatIndex::add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids) {
  if (file_) fail(Code::ReadOnly, "this index is mapped from " + file_->path() + ": open it with mmap=False to add");
  std::unique_lock lock(mutex_);
  if (rows_ + n > UINT32_MAX - kBlockRows) fail(Code::LimitExceeded, "a flat index holds at most 2^32 - 16 vectors");
  need_map();
  std::unordered_set<int64_t> seen;
  seen.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    if (ids[i] < 0)
      fail(Code::InvalidArgument, "ids[" + std::to_string(i) + "] is " + std::to_string(ids[i]) + ": want ids >= 0");
    if (row_of_.contains(ids[i]) || !seen.insert(ids[i]).second)
      fail(Code::InvalidArgument, "id " + std::to_string(ids[i]) + " is already present: remove it first");
  }
  const uint32_t per_row = format_.factors(), row_bytes = format_.spec.row_bytes(), width = format_.code.bytes;
  for (size_t i = 0; i < n * per_row; ++i) {
    const FactorCode& code = i % per_row == 0 && format_.factor != Factor::None ? format_.code : format_.stage_code;
    const float f = code.value(factors + i * width);
    // The exact search raises scores before it multiplies: a negative factor would turn its bound round.
    if (!std::isfinite(f) || (format_.factor == Factor::Mul && f < 0))
      fail(Code::InvalidArgument, "factors[" + std::to_string(i / per_row) + "] is " + std::to_string(f) +
                                      ": want a finite number, not negative for 'mul'");
  }

  const size_t total = rows_ + n;
  resize(total);
  for (size_t i = 0; i < n; ++i) {
    const size_t at = rows_ + i;
    put_row(format_.spec, planes + i * row_bytes, at, blocks_.data(), rest_.data());
    const uint8_t* f = factors + i * format_.factor_bytes();
    if (format_.factor != Factor::None) std::memcpy(factors_.data() + at * width, f, width);
    if (format_.stage_factor)
      std::memcpy(stage_factors_.data() + at * width, f + format_.factor_bytes() - width, width);
    ids_.as<int64_t>()[at] = ids[i];
    row_of_.emplace(ids[i], static_cast<uint32_t>(at));
  }
  rows_ = total;
}

void FlatIndex::resize(size_t rows) {
  blocks_.resize(block_count(rows) * block_bytes(format_.spec));
  rest_.resize(rows * format_.spec.rest_bytes());
  ids_.resize(rows * sizeof(int64_t));
  if (format_.factor != Factor::None) factors_.resize(rows * format_.code.bytes);
  if (format_.stage_factor) stage_factors_.resize(rows * format_.code.bytes);
}

size_t FlatIndex::remove(std::span<const int64_t> remove_ids) {
  std::unique_lock lock(mutex_);
  need_map();
  std::vector<uint8_t> row(format_.spec.row_bytes());
  size_t removed = 0;
  for (const int64_t id : remove_ids) {
    const auto found = row_of_.find(id);
    if (found == row_of_.end()) continue;
    const size_t at = found->second;
    row_of_.erase(found);
    ++removed;
    if (file_) {
      if (alive_.empty()) alive_.assign(block_count(rows_), 0xffff);
      alive_[at / 16] = static_cast<uint16_t>(alive_[at / 16] & ~(1u << at % 16));
      ++dead_;
      continue;
    }
    // The last row fills the hole, so the space really comes back.
    const size_t last = rows_ - 1;
    if (at != last) {
      get_row(view(), last, row.data());
      put_row(format_.spec, row.data(), at, blocks_.data(), rest_.data());
      const size_t width = format_.code.bytes;
      if (format_.factor != Factor::None)
        std::memcpy(factors_.data() + at * width, factors_.data() + last * width, width);
      if (format_.stage_factor)
        std::memcpy(stage_factors_.data() + at * width, stage_factors_.data() + last * width, width);
      ids_.as<int64_t>()[at] = ids_.as<int64_t>()[last];
      row_of_[ids_.as<int64_t>()[at]] = static_cast<uint32_t>(at);
    }
    rows_ = last;
  }
  if (!file_) resize(rows_);
  return removed;
}

bool FlatIndex::contains(int64_t id) const {
  std::shared_lock lock(mutex_);
  need_map();
  return row_of_.contains(id);
}

int64_t FlatIndex::max_id() const {
  std::shared_lock lock(mutex_);
  int64_t largest = -1;
  for (size_t i = 0; i < rows_; ++i)
    if (alive(i)) largest = std::max(largest, ids()[i]);
  return largest;
}

Rows FlatIndex::rows() const {
  std::shared_lock lock(mutex_);
  Rows out;
  const size_t live = rows_ - dead_, row_bytes = format_.spec.row_bytes(), width = format_.code.bytes;
  out.planes.resize(live * row_bytes);
  out.factors.reserve(live * format_.factor_bytes());
  out.ids.reserve(live);
  for (size_t i = 0; i < rows_; ++i) {
    if (!alive(i)) continue;
    get_row(view(), i, out.planes.data() + out.ids.size() * row_bytes);
    for (const uint8_t* stored : {factors(), stage_factors()})
      if (stored != nullptr) out.factors.insert(out.factors.end(), stored + i * width, stored + (i + 1) * width);
    out.ids.push_back(ids()[i]);
  }
  return out;
}

}  // namespace bebr
