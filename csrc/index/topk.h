// The best k results of a query, whatever order they come in: higher score first, and on equal scores the smaller id.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace bebr {

struct Hit {
  float score;
  int64_t id;
};

inline bool better(const Hit& a, const Hit& b) { return a.score > b.score || (a.score == b.score && a.id < b.id); }

class TopK {
 public:
  // floor: scores at or below it do not count.
  explicit TopK(size_t k, float floor = -std::numeric_limits<float>::infinity()) : k_(k), floor_(floor) {
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
    return std::nextafter(heap_.front().score, -std::numeric_limits<float>::infinity());
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

}  // namespace bebr
