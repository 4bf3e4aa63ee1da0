// Exact scores of what an index found by code. Queries are taken in groups: of a mapped file, the rows of a whole group
// that are not in memory are requested before the first is scored, so that the disk serves them side by side
// (docs/experiments/cold-reads.md).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "base/pages.h"
#include "base/threads.h"
#include "index/raw/raw.h"

namespace bebr {
namespace {

constexpr size_t kTogether = 32;  // queries whose reads overlap
constexpr size_t kSample = 4;     // rows looked at, .9 us each, to see whether the file is in memory

// Whether some of `count` rows at positions row(i) are not in memory, by a sample.
template <typename Row>
bool cold(size_t count, size_t stride, const Row& row) {
  bool found = false;
  for (size_t i = 0; i < kSample && !found && count > 0; ++i) found = !resident({row(i * count / kSample), stride});
  return found;
}

}  // namespace

void read_ahead(const uint8_t* from, size_t stride, std::span<const int64_t> rows) {
  const auto row = [&](size_t i) { return from + static_cast<size_t>(rows[i]) * stride; };
  if (!cold(rows.size(), stride, row)) return;
  for (size_t i = 0; i < rows.size();) {
    size_t next = i + 1;
    while (next < rows.size() && rows[next] == rows[next - 1] + 1) ++next;
    will_need({row(i), (next - i) * stride});
    i = next;
  }
}

void take_rows(const uint8_t* from, size_t stride, const int64_t* which, size_t n, uint8_t* to) {
  read_ahead(from, stride, {which, n});
  const auto row = [&](size_t i) { return from + static_cast<size_t>(which[i]) * stride; };
  parallel_for(n, 256, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) std::memcpy(to + i * stride, row(i), stride);
  });
}

void RawScores::Integers::set(const float* q, uint32_t dim) {
  double most = 0, sum = 0;
  for (uint32_t j = 0; j < dim; ++j) {
    most = std::max(most, std::abs(double{q[j]}));
    sum += std::abs(double{q[j]});
  }
  // Rounding adds at most 1/2 an entry to the sum.
  const double room = (0x1p31 - 1) / 127 - dim * 0.5 - 1;
  scale = std::max(most / 32767, sum / room);
  entries.resize(dim);
  int64_t squares = 0;
  for (uint32_t j = 0; j < dim; ++j) {
    entries[j] = scale > 0 ? static_cast<int16_t>(std::lrint(double{q[j]} / scale)) : int16_t{0};
    squares += int64_t{entries[j]} * entries[j];
  }
  square = scale * scale * static_cast<double>(squares);
}

void RawScores::set(const float* q) {
  floats_ = q;
  if (format_.type == RawType::Int8) query_.set(q, format_.dim);
}

void RawScores::score(const uint8_t* rows, std::span<const uint32_t> which, float* out) {
  if (format_.type == RawType::Int8) return score_int8(rows, which, out);
  (squared_distance_ ? kernels_.raw_l2_f16 : kernels_.raw_dot_f16)(floats_, format_.dim, rows, format_.stride(),
                                                                   which.data(), which.size(), out);
}

void RawScores::best(const float* q, const uint8_t* rows, std::span<const uint32_t> which, const int64_t* ids, size_t k,
                     float* scores, int64_t* best_ids) {
  exact_.resize(which.size());
  set(q);
  score(rows, which, exact_.data());
  const float sign = squared_distance_ ? -1.0f : 1.0f;
  TopK top(k);
  for (size_t i = 0; i < which.size(); ++i) top.push({sign * exact_[i], ids[which[i]]});
  const std::vector<Hit>& sorted = top.sorted();
  for (size_t i = 0; i < k; ++i) {
    scores[i] = i < sorted.size() ? sign * sorted[i].score : sign * kLowest;
    best_ids[i] = i < sorted.size() ? sorted[i].id : -1;
  }
}

void RawScores::score_int8(const uint8_t* rows, std::span<const uint32_t> which, float* out) {
  dots_.resize(which.size());
  squares_.resize(which.size());
  kernels_.raw_dot_i8(query_.entries.data(), format_.dim, rows + format_.head(), format_.stride(), which.data(),
                      which.size(), dots_.data(), squares_.data());
  for (size_t i = 0; i < which.size(); ++i) {
    float scale = 0;
    std::memcpy(&scale, rows + which[i] * format_.stride(), sizeof scale);
    const double product = query_.scale * scale * dots_[i];
    out[i] = static_cast<float>(
        squared_distance_ ? std::max(query_.square - 2 * product + double{scale} * scale * squares_[i], 0.0) : product);
  }
}

// Queries of one thread.
class RawVectors::Piece {
 public:
  Piece(const RawVectors& raw, const RescoreParams& params)
      : raw_(raw), params_(params), scores_(raw.format_, params.squared_distance) {}

  void run(const float* queries, size_t count, const int64_t* candidates, float* scores, int64_t* ids) {
    found_.clear();
    end_.clear();
    for (size_t i = 0; i < count; ++i) {
      for (size_t c = 0; c < params_.candidates; ++c) {
        uint32_t row = 0;
        const int64_t id = candidates[i * params_.candidates + c];
        if (raw_.find(id, row)) found_.push_back({row, id});
      }
      end_.push_back(found_.size());
    }
    if (raw_.mapped()) read_ahead();
    for (size_t i = 0, begin = 0; i < count; begin = end_[i++])
      score(queries + i * raw_.format_.dim, {found_.data() + begin, end_[i] - begin}, scores + i * params_.k,
            ids + i * params_.k);
  }

 private:
  struct Found {
    uint32_t row;
    int64_t id;
  };
  static bool before(const Found& a, const Found& b) { return a.row < b.row; }

  // Asks for all rows that are not in memory before the first is scored. One that is in memory is not requested: a call
  // costs about as much as scoring ten rows.
  void read_ahead() {
    if (!cold(found_.size(), raw_.format_.stride(), [this](size_t i) { return raw_.row(found_[i].row); })) return;
    rows_.clear();
    for (const Found& f : found_) rows_.push_back(f.row);
    std::sort(rows_.begin(), rows_.end());
    rows_.erase(std::unique(rows_.begin(), rows_.end()), rows_.end());
    for (size_t i = 0; i < rows_.size();) {
      size_t next = i + 1;
      while (next < rows_.size() && rows_[next] == rows_[next - 1] + 1) ++next;
      will_need({raw_.row(rows_[i]), (next - i) * raw_.format_.stride()});
      i = next;
    }
    // Each query's rows are then met in the order in which they were asked for.
    for (size_t i = 0, begin = 0; i < end_.size(); begin = end_[i++])
      std::sort(found_.begin() + static_cast<std::ptrdiff_t>(begin),
                found_.begin() + static_cast<std::ptrdiff_t>(end_[i]), before);
  }

  void score(const float* q, std::span<const Found> found, float* scores, int64_t* ids) {
    rows_.clear();
    for (const Found& f : found) rows_.push_back(f.row);
    scores_.best(q, raw_.rows_, rows_, raw_.ids_, params_.k, scores, ids);
  }

  const RawVectors& raw_;
  const RescoreParams& params_;
  RawScores scores_;
  std::vector<Found> found_;
  std::vector<size_t> end_;  // of each query's rows in found_
  std::vector<uint32_t> rows_;
};

void RawVectors::rescore(const float* queries, size_t count, const int64_t* candidates, const RescoreParams& params,
                         float* scores, int64_t* ids) const {
  if (params.k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  std::shared_lock lock(mutex_);
  parallel_for(count, 1, [&](size_t begin, size_t end) {
    Piece piece(*this, params);
    for (size_t i = begin; i < end; i += kTogether)
      piece.run(queries + i * format_.dim, std::min(kTogether, end - i), candidates + i * params.candidates,
                scores + i * params.k, ids + i * params.k);
  });
}

}  // namespace bebr
