// Asks servers the same again and again, in the thread that waits for news of them: as long as all answer as before,
// nobody else is woken. In Python a look of a root at one leaf took 6 ms of processor time, of this kind 1
// (docs/experiments/cluster-simulation.md).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/caller.h"

namespace bebr {

class Lookout {
 public:
  // every: seconds from one look to the next; patience: for which all answers of a look are waited for.
  Lookout(std::vector<std::shared_ptr<Caller>> callers, std::string path, std::string message, double every,
          double patience);

  struct News {
    size_t which = 0;                   // of the callers
    std::optional<std::string> answer;  // another one than before; nothing: it did not answer, or refused,
    bool late = false;                  // or not within the patience
    uint64_t asked = 0;                 // when, in ns of the steady clock
  };
  // Looks until there is some, of one caller at least; that of one look. Empty once it is stopped. One thread calls it.
  std::vector<News> news();
  // From any thread: ends `news`, now and later.
  void stop();
  // The next answer of this one is news, whatever it is.
  void forget(size_t which);
  // When it was last asked, of those times that it answered what was news before; 0 for never.
  uint64_t answered(size_t which) const { return answered_[which]; }

 private:
  // Whether it is to go on.
  bool pause();

  const std::vector<std::shared_ptr<Caller>> callers_;
  const std::string path_, message_;
  const std::chrono::steady_clock::duration every_;
  const double patience_;
  std::chrono::steady_clock::time_point next_;
  std::vector<std::atomic<uint64_t>> answered_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  std::vector<std::optional<std::string>> said_;  // what was news last
};

}  // namespace bebr
