// Who a front deals with, as its tests play them: a collection, the server behind, an honest client, and bytes on the
// wire that no honest client sends.
#pragma once

#include <nghttp2/nghttp2.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/front.h"

namespace bebr::test {

inline constexpr size_t kDim = 4;

// Answers every query by the ids first, first + 1, ...; first: the query's first value.
class FakeCollection final : public Searcher {
 public:
  explicit FakeCollection(size_t rows, uint32_t slow_ms = 0) : rows_(rows), slow_ms_(slow_ms) {}
  size_t rows() const noexcept override { return rows_; }
  size_t query_dim() const noexcept override { return kDim; }
  bool keeps_vectors() const noexcept override { return false; }
  bool has_decoder() const noexcept override { return true; }
  size_t candidates(size_t, std::optional<size_t>) const noexcept override { return 0; }
  bool try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                  int64_t* ids) const noexcept override;

  mutable std::atomic<int> running{0}, stopped{0};

 private:
  size_t rows_;
  uint32_t slow_ms_;
};

// An HTTP/2 server at a Unix socket. What it does goes by the path: /echo the body again, /empty nothing, /big 300 kB,
// /late after 20 ms, /reset RST_STREAM, /early an answer before the request has ended, /gone the end of the connection;
// /bebr.v1.Points/Search the text "behind".
class ServerBehind {
 public:
  ServerBehind();
  ~ServerBehind();
  const std::string& path() const noexcept { return path_; }

  std::atomic<int> calls{0};

 private:
  void serve(int socket);
  std::string folder_, path_;
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<int> serving_{0};
  std::thread accepting_;
};

int connect_to(uint16_t port);  // -1 where that failed

struct Reply {
  bool closed = false;  // the connection ended before the call did
  std::string body;
  std::map<std::string, std::string> headers;  // trailers, too
  uint32_t reset = 0;
};

// A client that does what it ought to. `body` is one message, framed here.
class HonestClient {
 public:
  explicit HonestClient(uint16_t port);
  ~HonestClient();
  // Begins a call; returns its number. extra: more headers.
  int32_t begin(const std::string& path, std::string body, std::map<std::string, std::string> extra = {});
  void cancel(int32_t id);
  // Reads until the call has ended, at most so long.
  Reply wait(int32_t id, int ms = 5000);
  Reply call(const std::string& path, const std::string& body, std::map<std::string, std::string> extra = {}) {
    return wait(begin(path, body, std::move(extra)));
  }
  bool goaway() const noexcept { return goaway_; }
  // Sends and reads what is due, without waiting for more than `ms`; false: the connection has ended.
  bool turn(int ms);
  bool reading = true;  // false: nothing is read, as if it were busy with something else

 private:
  struct Call {
    std::string body;
    size_t at = 0;
    bool ended = false;
    Reply reply;
  };
  int socket_ = -1;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Call>> calls_;
  std::string out_;
  bool goaway_ = false, closed_ = false;
};

// A framed SearchRequest of one query whose first value is `first`.
std::string search_message(const std::string& collection, float first, uint32_t k);

// The bytes of one connection, in the pieces in which they are sent.
std::vector<std::string> random_connection(std::mt19937& random);

}  // namespace bebr::test
