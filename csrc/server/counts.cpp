#include "server/counts.h"

#include <algorithm>

namespace bebr {
namespace {

constexpr double kSecond = 1e-9;  // of a ns

// Of what one thread alone writes: cheaper than an addition that others could come between.
template <typename T>
void more(std::atomic<T>& count, T by) noexcept {
  count.store(count.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

void Histogram::add(double value) noexcept {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  more(counts_[static_cast<size_t>(bound - bounds_.begin())], uint64_t{1});
  more(sum_, value);
}

void Histogram::add_to(Figures& sums) const {
  sums.counts.resize(counts_.size());
  for (size_t i = 0; i < counts_.size(); ++i) sums.counts[i] += counts_[i].load(std::memory_order_relaxed);
  sums.sum += sum_.load(std::memory_order_relaxed);
}

struct CollectionCounts::OfLoop {
  explicit OfLoop(const Bounds& bounds)
      : seconds(bounds.seconds), queued(bounds.seconds), searched(bounds.seconds), batch(bounds.queries) {}
  std::array<std::atomic<uint64_t>, kCodes> codes{};
  Histogram seconds, queued, searched, batch;
};

CollectionCounts::~CollectionCounts() {
  for (const std::atomic<OfLoop*>& of : loops_) delete of.load();
}

void CollectionCounts::add(size_t loop, const Ended& call) {
  OfLoop* of = loops_[loop].load(std::memory_order_relaxed);
  if (of == nullptr) {
    of = new OfLoop(bounds_);
    loops_[loop].store(of, std::memory_order_release);
  }
  more(of->codes[static_cast<size_t>(call.code)], uint64_t{1});
  of->seconds.add(static_cast<double>(call.elapsed) * kSecond);
  if (call.batch == 0) return;
  of->queued.add(static_cast<double>(call.queued) * kSecond);
  of->searched.add(static_cast<double>(call.searched) * kSecond);
  of->batch.add(static_cast<double>(call.batch));
}

bool CollectionCounts::add_to(CallFigures& sums) const {
  bool any = false;
  for (const std::atomic<OfLoop*>& one : loops_) {
    const OfLoop* const of = one.load(std::memory_order_acquire);
    if (of == nullptr) continue;
    any = true;
    for (size_t i = 0; i < kCodes; ++i) sums.codes[i] += of->codes[i].load(std::memory_order_relaxed);
    of->seconds.add_to(sums.seconds);
    of->queued.add_to(sums.queued);
    of->searched.add_to(sums.searched);
    of->batch.add_to(sums.batch);
  }
  return any;
}

}  // namespace bebr
