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

// A query as integers: entry times scale, with sum |entry| * 127 < 2^31 and entries of at most 15 bits.
struct Integers {
  std::vector<int16_t> entries;
  double scale = 0, square = 0;  // square: of the length

  void set(const float* q, uint32_t dim) {
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
};

}  // namespace

// Queries of one thread.
class RawVectors::Piece {
 public:
  Piece(const RawVectors& raw, const RescoreParams& params) : raw_(raw), params_(params), kernels_(kernels()) {}

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
    bool cold = false;
    for (size_t i = 0; i < kSample && !cold && !found_.empty(); ++i)
      cold = !resident(raw_.row_bytes(found_[i * found_.size() / kSample].row));
    if (!cold) return;
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
    exact_.resize(found.size());
    if (raw_.format_.type == RawType::Float16)
      (params_.squared_distance ? kernels_.raw_l2_f16 : kernels_.raw_dot_f16)(
          q, raw_.format_.dim, raw_.rows_, raw_.format_.stride(), rows_.data(), rows_.size(), exact_.data());
    else
      score_int8(q);
    const float sign = params_.squared_distance ? -1.0f : 1.0f;
    TopK top(params_.k);
    for (size_t i = 0; i < found.size(); ++i) top.push({sign * exact_[i], found[i].id});
    const std::vector<Hit>& best = top.sorted();
    for (size_t i = 0; i < params_.k; ++i) {
      scores[i] = i < best.size() ? sign * best[i].score : sign * kLowest;
      ids[i] = i < best.size() ? best[i].id : -1;
    }
  }

  void score_int8(const float* q) {
    query_.set(q, raw_.format_.dim);
    dots_.resize(rows_.size());
    squares_.resize(rows_.size());
    kernels_.raw_dot_i8(query_.entries.data(), raw_.format_.dim, raw_.rows_ + raw_.format_.head(),
                        raw_.format_.stride(), rows_.data(), rows_.size(), dots_.data(), squares_.data());
    for (size_t i = 0; i < rows_.size(); ++i) {
      float scale = 0;
      std::memcpy(&scale, raw_.row(rows_[i]), sizeof scale);
      const double product = query_.scale * scale * dots_[i];
      exact_[i] = static_cast<float>(
          params_.squared_distance ? std::max(query_.square - 2 * product + double{scale} * scale * squares_[i], 0.0)
                                   : product);
    }
  }

  const RawVectors& raw_;
  const RescoreParams& params_;
  const Kernels& kernels_;
  std::vector<Found> found_;
  std::vector<size_t> end_;  // of each query's rows in found_
  std::vector<uint32_t> rows_;
  std::vector<float> exact_;
  std::vector<int32_t> dots_, squares_;
  Integers query_;
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
