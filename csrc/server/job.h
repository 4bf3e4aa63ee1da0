// A search that the front answers, from the request to the reply.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_budget.h"
#include "collection/searcher.h"
#include "server/counts.h"

namespace bebr {

uint64_t now_ns() noexcept;  // of a clock that never goes back

// bebr/serve/admission.py: an answer while its reply is made, and copies of a request.
inline constexpr size_t kAnswerBytes = 32, kCopies = 4;

// Bytes counted in a budget for as long as this lives.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept : budget_(other.budget_), size_(other.size_) { other.budget_ = nullptr; }
  Lease& operator=(Lease&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Lease() {
    if (budget_ != nullptr) budget_->give_back(size_);
  }
  // Whether the budget had so much left: all of it for little, else three quarters (bebr/serve/admission.py).
  bool take(ByteBudget& budget, size_t size) noexcept {
    const size_t total = budget.total();
    if (!budget.take(size, size <= kSmallBytes ? total : total - total / 4)) return false;
    budget_ = &budget;
    size_ = size;
    return true;
  }
  // The same of `size` more, where some were taken.
  bool grow(size_t size) noexcept {
    Lease more;
    if (budget_ == nullptr || !more.take(*budget_, size)) return false;
    size_ += std::exchange(more.size_, 0);
    return true;
  }

 private:
  static constexpr size_t kSmallBytes = 1 << 20;
  ByteBudget* budget_ = nullptr;
  size_t size_ = 0;
};

// What one collection shows.
class Published {
 public:
  Published(std::string of, std::string digest, std::shared_ptr<const Searcher> all,
            std::shared_ptr<CollectionCounts> counted)
      : name(std::move(of)), model(std::move(digest)), counts(std::move(counted)), searcher_(std::move(all)) {}

  const std::string name, model;  // model: the digest of its queries
  const std::shared_ptr<CollectionCounts> counts;

  // Of all rows where there is no filter; null for one that is not known.
  std::shared_ptr<const Searcher> searcher(const std::optional<std::string_view>& filter) const;
  // The rows of `of` that a filter lets through; null: it is not known any more. Whether `of` is what this shows.
  bool add(const Searcher& of, const std::string& filter, std::shared_ptr<const Searcher> rows) const;

 private:
  const std::shared_ptr<const Searcher> searcher_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const Searcher>, std::less<>> filtered_;
};

// Searches of one kernel call.
struct Batch {
  std::atomic<bool> stop{false};
  std::atomic<size_t> wanted{1};  // how many of them somebody still waits for, and one while it is being made up

  void less() noexcept {
    if (--wanted == 0) stop = true;
  }
};

// What a search did, for those who want to know of each. queries: 0 where it was refused.
struct Finished : Ended {
  std::string collection;
  size_t queries = 0;
  CollectionSearch asked;
  std::optional<std::string> filter;
  std::string request_id, peer;         // peer: the caller's address
  uint64_t ended = 0;                   // when, by now_ns
  bool traced = false;                  // it is to have a span,
  std::string traceparent, tracestate;  // under that of its caller
};

enum class Outcome { Answered, Failed, Cancelled };

struct Job {
  std::string collection;
  std::string alias;                         // that it was asked for by; else empty
  std::shared_ptr<CollectionCounts> counts;  // of its collection
  CollectionSearch asked;                    // k with the offset
  size_t offset = 0, count = 0;
  bool payloads = false;
  std::optional<std::string> filter;  // under what its rows are published
  size_t group_size = 0;              // rows of a group; 0: hits do not come in groups
  std::optional<std::vector<int64_t>> allow;
  size_t cost = 0;            // rows that it looks at
  std::string message;        // as it came, framed
  size_t values_at = 0;       // where in it the values of the queries are,
  size_t values_size = 0;     // their bytes,
  bool half = false;          // and whether they are float16
  std::vector<int64_t> rows;  // to search by, in place of queries
  uint64_t arrival = 0;
  // Whose it is: a stream of a connection of a loop.
  size_t loop = 0;
  uint64_t connection = 0;
  int32_t stream = 0;

  // Of its search: when that began, how long it took, how many queries were in it, and what it did.
  uint64_t began = 0, searched = 0;
  size_t batch = 0;
  uint64_t scanned = 0, survivors = 0;

  Outcome outcome = Outcome::Failed;
  std::string reply;  // of one that was answered, framed; in the memory of the message
  Lease texts;        // of the texts in it

  std::string_view values() const noexcept { return std::string_view(message).substr(values_at, values_size); }

  // Whether one kernel call may answer both.
  bool alike(const Job& other) const noexcept {
    return collection == other.collection && filter == other.filter && asked.alike(other.asked) &&
           rows.empty() == other.rows.empty() && group_size == other.group_size && allow == other.allow;
  }
  // Nobody waits for it any more: once that is true of all its batch, the kernel call ends.
  void cancel() noexcept;
  bool cancelled() const noexcept { return cancelled_; }
  // Called by the thread that answers it; false: it was cancelled before.
  bool join(std::shared_ptr<Batch> batch) noexcept;

 private:
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::shared_ptr<Batch> batch_;  // to be told of a cancellation
};

}  // namespace bebr
