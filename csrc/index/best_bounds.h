// The k best of what each of many queries has seen so far: what a threshold is made of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "index/topk.h"
#include "kernels/floats.h"

namespace bebr {

// A few are kept in order, best first, and a new one takes its place without a branch: whether it is among them is what
// a processor cannot foresee. Many are a heap.
class BestBounds {
 public:
  BestBounds(size_t queries, size_t k) : k_(k), vectors_(vectors_for(k)), few_(queries * 4 * vectors_, kLowest) {
    if (vectors_ == 0) heaps_.resize(queries);
  }

  // None of `values` is a NaN. Returns the k-th best now, kLowest while there are fewer.
  float add(uint32_t query, std::span<const float> values) {
    float* best = few_.data() + query * 4 * vectors_;
    if (vectors_ == 0) return add_to_heap(heaps_[query], values);
    if (vectors_ == 2) return add_to_few<2>(best, values);
    return vectors_ == 4 ? add_to_few<4>(best, values) : add_to_few<8>(best, values);
  }
  // In no order; fewer than k where there are fewer, or numbers that are kLowest.
  std::span<const float> of(uint32_t query) const {
    if (vectors_ == 0) return heaps_[query];
    return {few_.data() + query * 4 * vectors_, k_};
  }
  void prefetch(uint32_t query) const {
    if (vectors_ > 0) __builtin_prefetch(few_.data() + query * 4 * vectors_);
  }

 private:
  static constexpr size_t vectors_for(size_t k) { return k <= 8 ? 2 : k <= 16 ? 4 : k <= 32 ? 8 : 0; }

  // In registers: what is written and read again a place further waits for the memory.
  template <size_t vectors>
  float add_to_few(float* best, std::span<const float> values) const {
    Floats sorted[vectors];
    std::memcpy(sorted, best, sizeof sorted);
    for (const float value : values) {
      const Floats added = Floats{} + value;
      Floats last = Floats{} + std::numeric_limits<float>::infinity();
      for (size_t v = 0; v < vectors; ++v) {
        const Floats old = sorted[v], before = __builtin_shufflevector(last, old, 3, 4, 5, 6);
        const Floats moved = added < before ? added : before;
        sorted[v] = old > moved ? old : moved;
        last = old;
      }
    }
    std::memcpy(best, sorted, sizeof sorted);
    return best[k_ - 1];
  }

  float add_to_heap(std::vector<float>& heap, std::span<const float> values) const {
    if (heap.size() < k_) {  // one selection instead of as many steps of a heap
      heap.insert(heap.end(), values.begin(), values.end());
      if (heap.size() < k_) return kLowest;
      const auto end = heap.begin() + static_cast<ptrdiff_t>(k_);
      std::nth_element(heap.begin(), end - 1, heap.end(), std::greater<>());
      heap.erase(end, heap.end());
      std::make_heap(heap.begin(), heap.end(), std::greater<>());
      return heap.front();
    }
    for (const float value : values) {
      if (!(value > heap.front())) continue;
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      heap.back() = value;
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
    return heap.front();
  }

  size_t k_, vectors_;  // vectors: of four a query, in few_; 0: heaps_ are used
  std::vector<float> few_;
  std::vector<std::vector<float>> heaps_;
};

}  // namespace bebr
