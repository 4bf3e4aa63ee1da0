// A search of all shards of a collection, from the request to the reply. In one loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/parts.h"
#include "server/route.h"

namespace bebr {

struct Stream;

// What one shard is asked for.
struct Part {
  std::vector<Stream*> asked;  // calls of leaves that were sent: one, or two where the first takes long
  size_t tried = 0;            // leaves so far
  bool answered = false;
  bool beside = false;  // a second leaf was asked, where there is one
};

struct Scatter {
  Stream* client = nullptr;  // whose search it is
  std::shared_ptr<const Route> route;
  std::vector<std::string> allow;         // of shards, in order; none where all rows are allowed
  std::string collection, model, common;  // model: of its queries, empty for the collection's; common: common_fields
  std::string kind;                       // kind_fields
  Whole asked;
  size_t turn = 0;                   // which of the leaves that take turns is first
  uint64_t due = 0;                  // when it is looked at whether a second leaf is to be asked, or patience has ended
  bool beside = false;               // so were second leaves of all parts
  size_t left = 0;                   // parts without an answer
  size_t bytes = 0, most = 0;        // of answers so far, and of those that are taken here
  std::vector<Part> parts;           // of the shards, in order
  std::vector<std::string> replies;  // framed
  bool partial = false;              // answers without some shards are the server's behind
  bool ended = false;                // nobody waits for it

  // The one of a shard that is asked when so many have been.
  const std::shared_ptr<const Leaf>& leaf(size_t shard, size_t tried) const noexcept {
    const Shard& of = route->shards[shard];
    return of.leaves[tried < of.alike ? (turn + shard + tried) % of.alike : tried];
  }
};

// A call of a leaf that has ended, for those who measure. answered: or another leaf was faster.
struct LeafCall {
  std::shared_ptr<const Leaf> leaf;
  uint64_t took = 0;  // ns, in its queue included
  bool answered = false;
};

// Calls of one leaf that are alike: of a collection, and of a kind. While some are under way, others wait, and go out
// together once all of these have ended. So the leaf searches for them by one kernel call, and both sides read and
// write once for all; sent one by one they would wait there, for it searches a collection by one call at a time. A call
// that comes alone waits for nothing.
struct LeafQueue {
  struct Waiting {
    std::shared_ptr<Scatter> of;
    size_t part = 0;
    std::shared_ptr<const Leaf> leaf;
    uint64_t since = 0;
  };
  const std::string* key = nullptr;  // under which a loop has it
  std::vector<Waiting> waiting;
  size_t sent = 0;   // calls under way
  bool due = false;  // what waits is to be sent
};

}  // namespace bebr
