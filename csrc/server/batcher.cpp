#include "server/batcher.h"

#include <algorithm>
#include <utility>

#include "server/slices.h"

namespace bebr {

Batcher::Batcher(const Means& means, size_t threads, size_t most_queries, Done done)
    : means_(means), most_queries_(most_queries), done_(std::move(done)) {
  for (size_t i = 0; i < threads; ++i)
    threads_.emplace_back([this] {
      ask_for_short_slices();
      work();
    });
}

Batcher::~Batcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [name, line] : lines_)
      for (auto& kind : line.kinds)
        for (const std::shared_ptr<Job>& job : kind) job->cancel();
    for (const auto& [name, line] : lines_)
      for (const std::shared_ptr<Job>& job : line.running) job->cancel();
  }
  due_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Batcher::add(Jobs jobs) {
  {
    const std::lock_guard lock(mutex_);
    for (std::shared_ptr<Job>& job : jobs) {
      Line& line = lines_[job->collection];
      if (line.kinds.empty() && line.running.empty()) turns_.push_back(job->collection);
      const auto same = [&](const auto& kind) { return kind.front()->alike(*job); };
      auto kind = std::find_if(line.kinds.begin(), line.kinds.end(), same);
      if (kind == line.kinds.end()) kind = line.kinds.emplace(line.kinds.end());
      kind->push_back(std::move(job));
    }
  }
  due_.notify_one();
}

bool Batcher::idle() const {
  const std::lock_guard lock(mutex_);
  return busy_ == 0 && turns_.empty();
}

// The first jobs of the kind whose turn it is; what is left of it waits behind the others.
Jobs Batcher::take(Line& line) {
  std::deque<std::shared_ptr<Job>>& kind = line.kinds.front();
  Jobs jobs;
  for (size_t queries = 0; !kind.empty();) {
    queries += kind.front()->count;
    if (!jobs.empty() && queries > most_queries_) break;
    jobs.push_back(std::move(kind.front()));
    kind.pop_front();
  }
  if (kind.empty())
    line.kinds.pop_front();
  else
    line.kinds.splice(line.kinds.end(), line.kinds, line.kinds.begin());
  return jobs;
}

void Batcher::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    due_.wait(lock, [&] { return stopping_ || !turns_.empty(); });
    if (stopping_) return;
    const std::string name = std::move(turns_.front());
    turns_.pop_front();
    Line& line = lines_[name];
    Jobs jobs = take(line);
    line.running = jobs;
    ++busy_;
    const bool more = !turns_.empty();
    lock.unlock();
    if (more) due_.notify_one();
    answer(means_, jobs);
    done_(std::move(jobs));
    lock.lock();
    --busy_;
    line.running.clear();
    if (line.kinds.empty())
      lines_.erase(name);
    else
      turns_.push_back(name);
  }
}

}  // namespace bebr
