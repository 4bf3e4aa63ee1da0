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
  // Of what is counted of collections, by so many loops. bounds: they outlive this.
  Shelf(const Bounds& bounds, size_t loops);

  // searcher null: the collection is not to be answered any more.
  void publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher);
  // The collection of each alias: all of them, in place of those before.
  void set_aliases(Aliases aliases);
  // By its name or an alias; null where there is none.
  std::shared_ptr<const Published> find(std::string_view collection) const;
  // The collection was dropped: what was counted of it is forgotten.
  void forget(const std::string& collection);
  // Of the collection of this name or alias, whether it is published or not; where there is none, those of names that
  // stand for nothing.
  std::shared_ptr<CollectionCounts> counts(std::string_view collection) const;
  // A reply to a request that lists collections, framed; it says what is published, and is kept until anything of that
  // changes. state: what `state` said before the reply was made: where it has changed since, the reply may be old.
  void keep_listing(uint64_t state, const std::string& request, std::string reply);
  uint64_t state() const;  // never 0; unlike any of another run of the server
  // Null where none is kept.
  std::shared_ptr<const std::string> listing(std::string_view request) const;
  // A call of a collection has ended, in the thread of this loop.
  void count(CollectionCounts& of, size_t loop, Ended call) const;
  // Of each collection that calls were counted of, those of no collection under the name "".
  std::vector<CallFigures> figures() const;

 private:
  // Under the lock: what is published is another now.
  void changed() noexcept;
  // What a map of collections has of a name or an alias; its end where there is none. Under the lock.
  template <typename Map>
  auto at(const Map& map, std::string_view collection) const;

  const Bounds& bounds_;
  const size_t loops_;
  const std::shared_ptr<CollectionCounts> unnamed_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::shared_ptr<const Published>, std::less<>> published_;
  Aliases aliases_;
  std::map<std::string, std::shared_ptr<const std::string>, std::less<>> listings_;  // by request
  uint64_t state_;
  std::map<std::string, std::shared_ptr<CollectionCounts>, std::less<>> counts_;
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
