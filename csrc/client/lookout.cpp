#include "client/lookout.h"

#include <chrono>
#include <utility>

namespace bebr {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

Lookout::Lookout(std::vector<std::shared_ptr<Caller>> callers, std::string path, std::string message, double every,
                 double patience)
    : callers_(std::move(callers)),
      path_(std::move(path)),
      message_(std::move(message)),
      every_(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(every))),
      patience_(patience),
      next_(Clock::now()),
      answered_(callers_.size()),
      said_(callers_.size()) {}

bool Lookout::pause() {
  std::unique_lock lock(mutex_);
  stopping_.wait_until(lock, next_, [&] { return stopped_; });
  return !stopped_;
}

std::vector<Lookout::News> Lookout::news() {
  std::vector<Caller*> asked;
  for (const std::shared_ptr<Caller>& one : callers_) asked.push_back(one.get());
  while (pause()) {
    const Clock::time_point begun = Clock::now();
    next_ = begun + every_;
    const auto now = static_cast<uint64_t>(std::chrono::nanoseconds(begun.time_since_epoch()).count());
    std::vector<Reply> replies = Caller::call_all(asked, path_, message_, patience_);
    std::vector<News> made;
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < replies.size(); ++i) {
      Reply& reply = replies[i];
      if (reply.outcome != Reply::Outcome::Answered || reply.status != 0) {
        said_[i].reset();
        made.push_back({i, std::nullopt, reply.outcome == Reply::Outcome::Late, now});
      } else if (said_[i] == reply.body) {
        answered_[i] = now;
      } else {
        said_[i] = reply.body;
        made.push_back({i, std::move(reply.body), false, now});
      }
    }
    if (stopped_) break;
    if (!made.empty()) return made;
  }
  return {};
}

void Lookout::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  stopping_.notify_all();
}

void Lookout::forget(size_t which) {
  const std::lock_guard lock(mutex_);
  said_[which].reset();
}

}  // namespace bebr
