// The best `limit` rows of a progressive search by first-stage score, kept in row order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "index/flat/nth_greatest.h"
#include "index/topk.h"

namespace bebr {

// Rows above a threshold are appended as they come; whenever there is no room for another chunk, the list is cut back
// to the best `limit`, of equal scores those with the smaller ids, and the threshold rises to just below the worst of
// them. Rows stay in the order they came in, so that completion walks memory forwards without a sort.
class Survivors {
 public:
  // Bytes of memory that a list needs. chunk: most rows that one call may append.
  static size_t bytes(size_t limit, size_t chunk) { return 8 * capacity(limit, chunk); }

  // memory: bytes(limit, chunk), aligned to 4. threshold: rows at or below it are known not to matter.
  Survivors(size_t limit, size_t chunk, uint8_t* memory, float threshold = kLowest)
      : limit_(limit),
        threshold_(threshold),
        rows_(reinterpret_cast<uint32_t*>(memory)),
        scores_(reinterpret_cast<float*>(memory) + capacity(limit, chunk)) {}

  float threshold() const { return threshold_; }
  size_t size() const { return size_; }
  uint32_t* next_rows() { return rows_ + size_; }
  float* next_scores() { return scores_ + size_; }
  // So many more, and no cut.
  void take(size_t n) { size_ += n; }
  // So many more. id_of(row): only asked where scores are equal.
  template <typename IdOf>
  void grow(size_t n, const IdOf& id_of) {
    size_ += n;
    if (size_ >= 2 * limit_ + kSlack) cut(id_of);
  }

  template <typename IdOf>
  void cut(const IdOf& id_of) {
    if (size_ <= limit_) return;
    const std::span<const float> all(scores_, size_);
    const float worst = nth_greatest(all, limit_);
    size_t above = 0, equal = 0;
    for (const float score : all) {
      above += score > worst ? 1 : 0;
      equal += score == worst ? 1 : 0;
    }
    const size_t places = limit_ - above;
    if (places == equal) {
      keep([&](size_t i) { return scores_[i] >= worst; });
    } else {
      const int64_t last = nth_id(worst, places, id_of);
      keep([&](size_t i) { return scores_[i] > worst || (scores_[i] == worst && id_of(rows_[i]) <= last); });
    }
    // A row that comes later may have the same score and a smaller id.
    threshold_ = std::nextafter(worst, kLowest);
  }

  // The n-th best of the scores so far (n >= 1), or -inf when there are fewer.
  float nth_best(size_t n) const { return size_ < n ? kLowest : nth_greatest({scores_, size_}, n); }

  std::span<const uint32_t> rows() const { return {rows_, size_}; }
  std::span<const float> scores() const { return {scores_, size_}; }

 private:
  static constexpr size_t kSlack = 256;  // a cut is worth its while once it drops this many

  template <typename Wanted>
  void keep(const Wanted& wanted) {
    size_t kept = 0;
    for (size_t i = 0; i < size_; ++i) {
      const bool stays = wanted(i);
      rows_[kept] = rows_[i];
      scores_[kept] = scores_[i];
      kept += stays ? 1 : 0;
    }
    size_ = kept;
  }

  // The n-th smallest id of the rows with this score.
  template <typename IdOf>
  int64_t nth_id(float score, size_t n, const IdOf& id_of) const {
    std::vector<int64_t> ids;
    for (size_t i = 0; i < size_; ++i)
      if (scores_[i] == score) ids.push_back(id_of(rows_[i]));
    std::nth_element(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n - 1), ids.end());
    return ids[n - 1];
  }

  static size_t capacity(size_t limit, size_t chunk) { return 2 * limit + kSlack + chunk + 16; }

  size_t limit_, size_ = 0;
  float threshold_;
  uint32_t* rows_;
  float* scores_;
};

}  // namespace bebr
