#include "server/batcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/wire.h"

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

void Shelf::publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher) {
  std::shared_ptr<const Published> made;  // and the one before is let go outside of the lock
  if (searcher) made = std::make_shared<const Published>(Published{collection, model, std::move(searcher)});
  const std::unique_lock lock(mutex_);
  if (made)
    published_[collection].swap(made);
  else if (const auto found = published_.find(collection); found != published_.end()) {
    made.swap(found->second);
    published_.erase(found);
  }
}

std::shared_ptr<const Published> Shelf::find(std::string_view collection) const {
  const std::shared_lock lock(mutex_);
  const auto found = published_.find(collection);
  return found == published_.end() ? nullptr : found->second;
}

BatchingCounts& Shelf::counts(const std::string& collection) {
  const std::unique_lock lock(mutex_);
  std::unique_ptr<BatchingCounts>& kept = counts_[collection];
  if (!kept) kept = std::make_unique<BatchingCounts>();
  return *kept;
}

void answer(Shelf& shelf, const Jobs& jobs) {
  const auto batch = std::make_shared<Batch>();
  Jobs wanted;
  size_t queries = 0;
  for (const std::shared_ptr<Job>& job : jobs) {
    job->outcome = Outcome::Cancelled;
    if (!job->join(batch)) continue;
    wanted.push_back(job);
    queries += job->count;
  }
  batch->less();
  if (wanted.empty()) return;
  const std::shared_ptr<const Published> shown = shelf.find(wanted.front()->collection);
  const size_t k = wanted.front()->asked.k;
  bool good = shown != nullptr;
  for (const std::shared_ptr<Job>& job : wanted) {
    job->outcome = Outcome::Failed;
    good = good && job->queries.size() == job->count * shown->searcher->query_dim();
  }
  if (!good) return;
  CollectionSearch asked = wanted.front()->asked;
  asked.stop = &batch->stop;
  std::vector<float> joined;
  const float* all = wanted.front()->queries.data();
  if (wanted.size() > 1) {
    for (const std::shared_ptr<Job>& job : wanted)
      joined.insert(joined.end(), job->queries.begin(), job->queries.end());
    all = joined.data();
  }
  std::vector<float> scores(queries * k);
  std::vector<int64_t> ids(queries * k);
  const uint64_t begin = now_ns();
  const bool found = shown->searcher->try_search(all, queries, asked, scores.data(), ids.data());
  const uint64_t took = now_ns() - begin;
  if (found) {
    BatchingCounts& counts = shelf.counts(wanted.front()->collection);
    counts.requests += wanted.size();
    counts.queries += queries;
    counts.batches += 1;
    uint64_t largest = counts.largest;
    while (largest < queries && !counts.largest.compare_exchange_weak(largest, queries)) {
    }
  }
  size_t first = 0;
  for (const std::shared_ptr<Job>& job : wanted) {
    job->began = begin;
    job->searched = took;
    job->batch = queries;
    if (job->cancelled()) {
      job->outcome = Outcome::Cancelled;
    } else if (found) {
      job->reply = write_reply(scores.data() + first * k, ids.data() + first * k, job->count, k, job->offset,
                               (now_ns() - job->arrival) / 1000, static_cast<uint32_t>(queries));
      job->outcome = Outcome::Answered;
    }
    first += job->count;
  }
}

Batcher::Batcher(Shelf& shelf, size_t threads, size_t most_queries, Done done)
    : shelf_(shelf), most_queries_(most_queries), done_(std::move(done)) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
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
      const auto same = [&](const auto& kind) { return kind.front()->asked.alike(job->asked); };
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
    answer(shelf_, jobs);
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
