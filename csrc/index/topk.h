// The best k results of a query, whatever order they come in: higher score first, and on equal scores the smaller id.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace bebr {

struct Hit {
  float score;
  int64_t id;
};

inline constexpr float kLowest = -std::numeric_limits<float>::infinity();

inline bool better(const Hit& a, const Hit& b) { return a.score > b.score || (a.score == b.score && a.id < b.id); }

class TopK {
 public:
  // floor: scores at or below it do not count.
  explicit TopK(size_t k, float floor = kLowest) : k_(k), floor_(floor) {
    heap_.reserve(std::min<size_t>(k, 1024));  // k may be far above the rows
  }

  void push(Hit hit) {
    if (!(hit.score > floor_)) return;
    if (heap_.size() < k_) {
      heap_.push_back(hit);
      std::push_heap(heap_.begin(), heap_.end(), better);
    } else if (better(hit, heap_.front())) {
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.back() = hit;
      std::push_heap(heap_.begin(), heap_.end(), better);
    }
  }

  // A candidate must score above this to matter. One step below the k-th score, so that an equal score with a smaller
  // id still comes through; the floor while there are fewer than k.
  float threshold() const {
    if (heap_.size() < k_) return floor_;
    return std::nextafter(heap_.front().score, kLowest);
  }

  // Best first; the heap is spent.
  std::vector<Hit>& sorted() {
    std::sort(heap_.begin(), heap_.end(), better);
    return heap_;
  }
  const std::vector<Hit>& hits() const { return heap_; }
  bool full() const { return heap_.size() == k_; }
  void clear() { heap_.clear(); }

 private:
  size_t k_;
  float floor_;
  std::vector<Hit> heap_;
};

// The results of a batch.
class TopKBatch {
 public:
  // min_scores: of each query, scores that do not count, nor any below; null: none.
  TopKBatch(size_t queries, size_t k, const float* min_scores) : k_(k) {
    tops_.reserve(queries);
    for (size_t q = 0; q < queries; ++q) tops_.emplace_back(k, min_scores != nullptr ? min_scores[q] : kLowest);
  }
  size_t size() const { return tops_.size(); }
  TopK& operator[](size_t q) { return tops_[q]; }
  const TopK& operator[](size_t q) const { return tops_[q]; }

  // scores, ids: size() * k, best first; missing results are -inf and -1. The results are spent.
  void write(float* scores, int64_t* ids) {
    for (TopK& top : tops_) {
      const std::vector<Hit>& hits = top.sorted();
      for (size_t i = 0; i < k_; ++i) {
        *scores++ = i < hits.size() ? hits[i].score : kLowest;
        *ids++ = i < hits.size() ? hits[i].id : -1;
      }
    }
  }
  // The same as lists of different lengths.
  std::vector<std::vector<Hit>> sorted() {
    std::vector<std::vector<Hit>> all;
    all.reserve(tops_.size());
    for (TopK& top : tops_) all.push_back(std::move(top.sorted()));
    return all;
  }

 private:
  size_t k_;
  std::vector<TopK> tops_;
};

}  // namespace bebr
