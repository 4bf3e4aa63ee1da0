#include "base/interrupt.h"

#include <chrono>
#include <utility>

#include "base/error.h"

namespace bebr {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetween{50};  // asking may wait for Python's lock

thread_local Interruptible::Asked asked = nullptr;
thread_local Clock::time_point next;

}  // namespace

Interruptible::Interruptible(Asked wanted) noexcept : before_(std::exchange(asked, wanted)) {
  if (wanted != nullptr) next = Clock::now() + kBetween;
}

Interruptible::~Interruptible() { asked = before_; }

void check_interrupt() {
  if (asked == nullptr) return;
  const Clock::time_point now = Clock::now();
  if (now < next) return;
  next = now + kBetween;
  if (asked()) fail(ErrorCode::Cancelled, "interrupted");
}

}  // namespace bebr
