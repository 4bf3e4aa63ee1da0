// Searches that wait for the same collection are joined into one kernel call. Nothing waits on purpose: while one call
// runs, whatever arrives collects, and the next call takes what is there.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/job.h"

namespace bebr {

using Jobs = std::vector<std::shared_ptr<Job>>;
using Aliases = std::map<std::string, std::string, std::less<>>;

// What is published, by collection. Any number of threads.
class Shelf {
 public:
  // searcher null: the collection is not to be answered any more.
  void publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher);
  // The collection of each alias: all of them, in place of those before.
  void set_aliases(Aliases aliases);
  // By its name or an alias; null where there is none.
  std::shared_ptr<const Published> find(std::string_view collection) const;
  BatchingCounts& counts(const std::string& collection);

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::shared_ptr<const Published>, std::less<>> published_;
  Aliases aliases_;
  std::map<std::string, std::unique_ptr<BatchingCounts>, std::less<>> counts_;
};

// What answers are made of, and what limits them.
struct Means {
  Shelf& shelf;
  ByteBudget& budget;
  size_t reply_bytes;  // of one reply
};

// Answers jobs of one collection, all alike, by one call. Every job gets its outcome.
void answer(const Means& means, const Jobs& jobs);

// Threads that answer jobs. Collections take turns, and so do kinds of searches within one; one kernel call at a time
// for each collection.
class Batcher {
 public:
  using Done = std::function<void(Jobs)>;  // called in a thread of the batcher
  Batcher(const Means& means, size_t threads, size_t most_queries, Done done);
  ~Batcher();  // ends the calls in progress

  void add(Jobs jobs);
  bool idle() const;

 private:
  struct Line {  // of one collection: jobs that are alike, in the order of their turns
    std::list<std::deque<std::shared_ptr<Job>>> kinds;
    Jobs running;  // of the kernel call in progress
  };
  void work();
  Jobs take(Line& line);

  const Means means_;
  const size_t most_queries_;
  const Done done_;
  mutable std::mutex mutex_;
  std::condition_variable due_;
  std::map<std::string, Line, std::less<>> lines_;
  std::deque<std::string> turns_;  // collections with jobs of which none runs
  size_t busy_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bebr
