// What is counted of the searches of a collection that were answered here, for its statistics and for metrics
// (docs/operations.md). Every event loop counts in memory of its own, so that it takes no lock and waits for no other;
// who asks gets the sums.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/search_work.h"

namespace bebr {

// Upper bounds of histograms, ascending: of times, and of the queries of a kernel call.
struct Bounds {
  std::vector<double> seconds, queries;
};

// counts: of the values up to each bound and above the one before it, last of those above all; and their sum.
struct Figures {
  std::vector<uint64_t> counts;
  double sum = 0;
};

// One thread adds to it, any may read it.
class Histogram {
 public:
  explicit Histogram(const std::vector<double>& bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}
  void add(double value) noexcept;
  void add_to(Figures& sums) const;

 private:
  const std::vector<double>& bounds_;
  std::vector<std::atomic<uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

// How a call ended. Times in ns; code: of gRPC. The others are 0 where it was not searched for, or that is not known:
// queued, searched, and of its kernel call the queries and what it did (SearchWork).
struct Ended {
  int code = 0;
  uint64_t elapsed = 0, queued = 0, searched = 0;
  size_t batch = 0;
  uint64_t scanned = 0, survivors = 0;
};

inline constexpr size_t kCodes = 17;  // of gRPC

// Calls of one collection, the method Points/Search. codes: calls by their code.
struct CallFigures {
  std::string collection;
  std::array<uint64_t, kCodes> codes{};
  Figures seconds, queued, searched, batch;
};

// What joining searches did.
struct BatchingCounts {
  std::atomic<uint64_t> requests{0}, queries{0}, batches{0}, largest{0};
  SearchWork work;
};

class CollectionCounts {
 public:
  // bounds: they outlive this.
  CollectionCounts(const Bounds& bounds, size_t loops) : bounds_(bounds), loops_(loops) {}
  ~CollectionCounts();
  CollectionCounts(const CollectionCounts&) = delete;
  CollectionCounts& operator=(const CollectionCounts&) = delete;

  // In the thread of this loop.
  void add(size_t loop, const Ended& call);
  // Adds to the sums. Whether there was a call.
  bool add_to(CallFigures& sums) const;

  BatchingCounts batching;
  std::atomic<bool> gone{false};  // its collection was dropped: calls that end from now on are of none

 private:
  struct OfLoop;
  const Bounds& bounds_;
  std::vector<std::atomic<OfLoop*>> loops_;  // null until it has counted a call
};

}  // namespace bebr
