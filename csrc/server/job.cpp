#include "server/job.h"

#include <chrono>
#include <utility>

namespace bebr {

uint64_t now_ns() noexcept {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

void Job::cancel() noexcept {
  const std::lock_guard lock(mutex_);
  if (!cancelled_.exchange(true) && batch_) batch_->less();
}

bool Job::join(std::shared_ptr<Batch> batch) noexcept {
  const std::lock_guard lock(mutex_);
  if (cancelled_) return false;
  ++batch->wanted;
  batch_ = std::move(batch);
  return true;
}

}  // namespace bebr
