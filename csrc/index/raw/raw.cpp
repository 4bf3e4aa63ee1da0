#include "index/raw/raw.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/half.h"
#include "base/threads.h"
#include "index/new_ids.h"

namespace bebr {
namespace {

constexpr uint32_t kMostDim = 1u << 16;

// False for a value that cannot be stored.
bool put_float16(const float* x, uint32_t dim, uint8_t* row) {
  bool finite = true;
  for (uint32_t j = 0; j < dim; ++j) {
    const uint16_t half = float_to_half(x[j]);
    finite = finite && (half & 0x7c00u) != 0x7c00u;
    std::memcpy(row + size_t{j} * 2, &half, 2);
  }
  return finite;
}

bool put_int8(const float* x, uint32_t dim, uint8_t* row) {
  float most = 0;
  bool finite = true;
  for (uint32_t j = 0; j < dim; ++j) {
    finite = finite && std::isfinite(x[j]);
    most = std::max(most, std::abs(x[j]));
  }
  if (!finite) return false;
  // A row of zeros, or of values that are next to nothing: scale 0.
  const float scale = most / 127 >= 0x1p-126f ? most / 127 : 0;
  std::memcpy(row, &scale, sizeof scale);
  for (uint32_t j = 0; j < dim; ++j) {
    const float entry = scale > 0 ? std::clamp(std::nearbyint(x[j] / scale), -127.0f, 127.0f) : 0;
    row[sizeof scale + j] = static_cast<uint8_t>(static_cast<int8_t>(entry));
  }
  return true;
}

void get_row(const RawFormat& format, const uint8_t* row, float* x) {
  if (format.type == RawType::Float16) {
    for (uint32_t j = 0; j < format.dim; ++j) {
      uint16_t half = 0;
      std::memcpy(&half, row + size_t{j} * 2, 2);
      x[j] = half_to_float(half);
    }
    return;
  }
  float scale = 0;
  std::memcpy(&scale, row, sizeof scale);
  for (uint32_t j = 0; j < format.dim; ++j) x[j] = scale * static_cast<int8_t>(row[format.head() + j]);
}

}  // namespace

void store_raw(const RawFormat& format, size_t n, const float* x, uint8_t* rows) {
  const bool half = format.type == RawType::Float16;
  std::vector<uint8_t> stored(n);
  parallel_for(n, 64, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i)
      stored[i] = (half ? put_float16 : put_int8)(x + i * format.dim, format.dim, rows + i * format.stride()) ? 1 : 0;
  });
  const auto bad = std::find(stored.begin(), stored.end(), uint8_t{0});
  if (bad != stored.end())
    fail(ErrorCode::InvalidArgument,
         "vector " + std::to_string(bad - stored.begin()) + " has a value that " +
             (half ? "float16 cannot hold: want values within 65504, or int8" : "is not finite"));
}

void load_raw(const RawFormat& format, size_t n, const uint8_t* rows, float* x) {
  parallel_for(n, 64, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) get_row(format, rows + i * format.stride(), x + i * format.dim);
  });
}

RawVectors::RawVectors(RawFormat format) : format_(format) {
  if (format.dim < 1 || format.dim > kMostDim)
    fail(ErrorCode::InvalidArgument, "raw vectors of " + std::to_string(format.dim) + " dimensions: want 1 to 65536");
}

size_t RawVectors::size() const {
  std::shared_lock lock(mutex_);
  return size_ - dead_rows_;
}

std::vector<int64_t> RawVectors::ids() const {
  std::shared_lock lock(mutex_);
  std::vector<int64_t> all;
  all.reserve(size_ - dead_rows_);
  for (uint32_t i = 0; i < size_; ++i)
    if (!view_of(dead_)[i]) all.push_back(ids_[i]);
  return all;
}

// Ids that number the rows, as those given by default do until something is removed, need no looking up.
bool RawVectors::find(int64_t id, uint32_t& row) const {
  if (id < 0) return false;
  if (static_cast<uint64_t>(id) < size_ && ids_[id] == id) {
    row = static_cast<uint32_t>(id);
  } else if (file_) {
    const int64_t found = order_.find(id);
    if (found < 0) return false;
    row = static_cast<uint32_t>(found);
  } else {
    const uint32_t* found = row_of_.find(id);
    if (found == nullptr) return false;
    row = *found;
  }
  return !view_of(dead_)[row];
}

void RawVectors::set_views() noexcept {
  rows_ = row_buffer_.data();
  ids_ = id_buffer_.as<int64_t>();
  size_ = id_buffer_.size() / sizeof(int64_t);
}

void RawVectors::add(size_t n, const float* x, const int64_t* ids) {
  if (file_)
    fail(ErrorCode::ReadOnly, "this index is mapped from " + file_->path() + ": open it with mmap=False to add");
  std::unique_lock lock(mutex_);
  if (size_ + n > UINT32_MAX) fail(ErrorCode::LimitExceeded, "an index holds at most 2^32 - 1 raw vectors");
  check_new_ids({ids, n}, row_of_);
  const size_t stride = format_.stride(), first = size_;
  row_of_.reserve(first + n);
  // A buffer that grows moves; the views follow even where what comes next fails.
  row_buffer_.grow((first + n) * stride);
  set_views();
  id_buffer_.grow((first + n) * sizeof(int64_t));
  set_views();
  row_buffer_.resize((first + n) * stride);
  try {
    store_raw(format_, n, x, row_buffer_.data() + first * stride);
  } catch (...) {
    row_buffer_.resize(first * stride);
    throw;
  }
  // From here on nothing can fail.
  id_buffer_.resize((first + n) * sizeof(int64_t));
  if (n > 0) std::memcpy(id_buffer_.as<int64_t>() + first, ids, n * sizeof(int64_t));
  for (size_t i = 0; i < n; ++i) row_of_.set(ids[i], static_cast<uint32_t>(first + i));
  set_views();
}

size_t RawVectors::remove(std::span<const int64_t> ids) {
  std::unique_lock lock(mutex_);
  if (file_ && dead_.empty()) dead_.resize(words_for(size_));
  size_t count = 0;
  for (const int64_t id : ids) {
    uint32_t at = 0;
    if (!find(id, at)) continue;
    ++count;
    if (file_) {
      set_bit(dead_, at);
      ++dead_rows_;
      continue;
    }
    // The last row fills the hole.
    const auto last = static_cast<uint32_t>(size_ - 1);
    row_of_.erase(id);
    if (at != last) {
      std::memcpy(row_buffer_.data() + at * format_.stride(), row(last), format_.stride());
      id_buffer_.as<int64_t>()[at] = ids_[last];
      row_of_.set(ids_[at], at);
    }
    row_buffer_.resize(last * format_.stride());
    id_buffer_.resize(last * sizeof(int64_t));
    set_views();
  }
  return count;
}

std::vector<float> RawVectors::values(std::span<const int64_t> ids) const {
  std::shared_lock lock(mutex_);
  std::vector<float> x(ids.size() * format_.dim);
  for (size_t i = 0; i < ids.size(); ++i) {
    uint32_t at = 0;
    if (!find(ids[i], at)) fail(ErrorCode::UnknownId, "id " + std::to_string(ids[i]) + " is not in this index");
    get_row(format_, row(at), x.data() + i * format_.dim);
  }
  return x;
}

}  // namespace bebr
