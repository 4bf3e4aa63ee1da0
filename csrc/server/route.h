// Where the shards of collections are, as the server behind the front of a root has published it
// (bebr/cluster/routes.py).
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace bebr {

// A leaf, and how it is called.
struct Leaf {
  std::string name;           // "host:port", as users write it
  std::string authorization;  // what is said of who calls; empty: nothing
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string key;  // what tells it from others

  // host: an address in figures; nothing where it is none.
  static std::optional<Leaf> of(std::string name, const std::string& host, uint16_t port, std::string authorization);
};

struct Shard {
  std::string collection, model;                    // as its leaves know them
  std::vector<std::shared_ptr<const Leaf>> leaves;  // in the order in which they are asked, one at least
  size_t alike = 1;                                 // of these, the first that take turns
};

// Never changes. Times by now_ns.
struct Route {
  std::vector<Shard> shards;        // one: it is asked for what the collection is
  std::vector<std::string> models;  // ascending: queries of these are for each shard's own
  bool ascending = false;           // small scores are the best
  uint64_t renew = 0;               // from when on the server behind is to be told that a new one is wanted
  uint64_t until = 0;               // from when on searches are forwarded
  uint64_t patience = 0;            // ns within which all shards have to answer

  // True once.
  bool renew_once() const noexcept { return !renewing_.exchange(true, std::memory_order_relaxed); }
  // Whether a second leaf can be asked for some shard.
  bool replicated() const noexcept;
  // What a shard is asked under for queries of this model; empty: the collection's.
  std::string_view model_at(const Shard& shard, std::string_view model) const noexcept;

 private:
  mutable std::atomic<bool> renewing_{false};
};

// Of all collections in shards. Any number of threads.
class Routes {
 public:
  // Null: its searches are forwarded from now on.
  void set(const std::string& collection, std::shared_ptr<const Route> route);
  std::shared_ptr<const Route> find(std::string_view collection) const;
  std::atomic<bool> used{false};  // there was one
  // ns after which a second leaf is asked beside one that has not answered.
  std::atomic<uint64_t> delay{150'000'000};

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::shared_ptr<const Route>, std::less<>> routes_;
};

}  // namespace bebr
