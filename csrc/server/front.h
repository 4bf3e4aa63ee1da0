// The front of a server: it owns the TCP port and speaks HTTP/2 (nghttp2). Searches that it understands as a whole it
// answers from what is published; every other stream goes unchanged to the server behind it, at a Unix socket, so that
// everything else exists once, in Python. One connection to the server behind for each connection of a client: headers,
// windows and faults of one client are no other's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_budget.h"
#include "server/batcher.h"
#include "server/keys.h"
#include "server/route.h"
#include "server/sampling.h"
#include "server/transport.h"

namespace bebr {

struct FrontOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;     // 0: a free one
  std::string upstream;  // path of the socket of the server behind
  bool shared = false;   // others may listen on the port, too
  TlsFiles tls;
  size_t loops = 1;         // event loops, each in a thread of its own
  size_t threads = 1;       // that search, beside the loops
  size_t most_batch = 256;  // queries of a kernel call
  // As of the server behind, which refuses what is over them.
  size_t queries = 65536, k = 65536, answers = 4'000'000, ids = 1'000'000, calls = 4096;
  size_t reply_bytes = 64 << 20;
  size_t connections = 1024;
  Bounds bounds;  // of what is counted of calls
};

struct FrontCounts {
  std::atomic<uint64_t> answered{0}, forwarded{0}, denied{0}, cancelled{0}, late{0}, connections{0}, refused{0};
  // Searches that were begun by a route and forwarded after all; shards for which a second leaf was asked.
  std::atomic<uint64_t> given_up{0}, second_tries{0};
  std::atomic<uint64_t> listed{0};  // listings that were answered here
};

struct LeafCall;
class Loop;
struct Stream;

class Front {
 public:
  Front(FrontOptions options, std::shared_ptr<ByteBudget> budget);
  ~Front();

  // Listens; the port. Throws Error(Io) where that is not possible, Error(InvalidArgument) for TLS files.
  uint16_t start();
  // Takes no more connections and calls, and waits up to `grace` seconds for those in progress. Whether all ended.
  bool drain(double grace);
  // Ends everything. Repeating it is harmless.
  void stop();

  // A collection that is answered here from now on; null: no longer. model: the digest of its queries.
  void publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher);
  // The rows of what is published that a filter, written as this text, lets through; null: it is forwarded from now on.
  // Whether `of` is still what is published: with it goes what was told of its filters.
  bool publish_filter(const std::string& collection, const Searcher& of, const std::string& filter,
                      std::shared_ptr<const Searcher> rows);
  // The collection of each alias: all of them, in place of those before.
  void set_aliases(Aliases aliases) { shelf_.set_aliases(std::move(aliases)); }
  // Of collections in shards: of a root.
  Routes& routes() noexcept { return routes_; }
  // Whether anybody may call. Where not, a caller needs a key of the table that was set last; while that is out of date
  // all calls are forwarded: the server behind reads its keys anew.
  void set_open(bool open) noexcept { open_ = open; }
  void set_keys(std::shared_ptr<const KeyTable> keys);
  std::shared_ptr<const KeyTable> keys() const;  // null: none yet
  // Which calls are to have a span. Before start().
  void set_sampling(const Sampling& sampling) noexcept { sampling_ = sampling; }

  // Counts calls from now on (Shelf::figures).
  void count() noexcept { counting_ = true; }
  // Keeps what searches did from now on, at most so many of them at a time; of those that are to have a span, always.
  void record(size_t most) noexcept { most_finished_ = most; }
  // Calls without a right key since the last call, the first thousand: who, and the path.
  std::vector<std::pair<std::string, std::string>> take_denied();
  // What was kept since the last call, in the order in which it ended.
  std::vector<Finished> take_finished();
  // Calls of leaves that have ended since the last call, the first hundred thousand. They are no news: each root would
  // wake its Python twenty times a second, which was a quarter of what it computed.
  std::vector<LeafCall> take_asked();
  // Collections whose routes are to be renewed, since the last call.
  std::vector<std::string> take_stale();
  // A file that may be read, 8 bytes, once there is something to take. It is open as long as this is there.
  int news() const noexcept { return news_; }

  const FrontOptions& options() const noexcept { return options_; }
  const FrontCounts& counts() const noexcept { return counts_; }
  Shelf& shelf() noexcept { return shelf_; }

 private:
  friend class Loop;
  friend class Connection;
  void finished(const Job& job, int code, const Stream& stream);
  // Of a call that no searcher here had. loop: whose it was.
  void ended(std::string_view collection, int code, const Stream& stream, size_t loop);
  std::string request_id(const Headers& headers);  // the caller's, or another in place of one that is none
  // What is to be told of a call that ends now, so far; absent where nobody wants to know.
  std::optional<Finished> told(const Stream& stream, const Ended& ended);
  void tell(Finished one);
  void tell(std::vector<LeafCall> some);
  void stale(std::string_view collection);
  void denied(const std::string& peer, std::string_view path);
  void announce() noexcept;

  FrontOptions options_;
  std::shared_ptr<ByteBudget> budget_;
  FrontCounts counts_;
  Shelf shelf_;
  Routes routes_;
  std::atomic<bool> open_{true};
  Sampling sampling_;
  std::shared_ptr<const KeyTable> keys_;
  mutable std::mutex keys_mutex_;
  std::atomic<size_t> calls_{0}, open_connections_{0};
  const std::string run_;  // ids of two runs differ
  std::atomic<uint64_t> request_ids_{0};
  std::shared_ptr<const TlsContext> tls_;
  const Means means_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::unique_ptr<Batcher> batcher_;
  std::atomic<bool> counting_{false};
  std::atomic<size_t> most_finished_{0};
  std::vector<Finished> finished_;
  std::vector<LeafCall> asked_;
  std::vector<std::string> stale_;
  std::vector<std::pair<std::string, std::string>> denied_;
  std::mutex finished_mutex_;
  int news_ = -1;
  std::mutex mutex_;
  std::condition_variable drained_;
};

}  // namespace bebr
