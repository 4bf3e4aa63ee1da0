// A client of one gRPC server by HTTP/2 (nghttp2), for calls with one message each way. It blocks: the thread that
// calls sends, waits and reads by itself, on a connection that no other call has meanwhile. gRPC's own client hands
// each call from thread to thread, which takes longer than a small search (docs/experiments/call-cost.md).
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bebr {

struct Reply {
  // Broken: the server is away, or what it sent is no answer, or the connection ended before that; it may have done
  // what was asked. Busy: as many calls as there may be connections. Stopped: the caller wanted it no more.
  enum class Outcome { Answered, Late, Broken, Busy, Stopped, Closed };
  Outcome outcome = Outcome::Broken;
  int status = 0;       // of gRPC, where it was answered
  std::string message;  // of the status, as it was sent: with %xx
  std::string body;
};

// Any number of threads may call.
class Caller {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  // host and port: as getaddrinfo takes them; authority: both, as they were written. headers: of every call, beside
  // those that gRPC wants. most: connections.
  Caller(std::string host, std::string port, std::string authority, Headers headers, size_t most);
  ~Caller();

  // path: "/package.Service/Method". seconds: of the whole call. goes_on: asked several times a second while it waits.
  Reply call(std::string_view path, std::string_view message, std::optional<double> seconds,
             const std::function<bool()>& goes_on);
  // The same message to each of them at the same time, by this thread alone. seconds: of all of it. No two are the
  // same.
  static std::vector<Reply> call_all(std::span<Caller* const> callers, std::string_view path, std::string_view message,
                                     double seconds);
  // Ends all connections, and calls in progress with them. Repeating it is harmless.
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  class Connection;
  struct Limit {
    std::optional<Clock::time_point> until;
    const std::function<bool()>& goes_on;
    // Whether the socket got ready for these events of poll; else why not.
    std::optional<Reply::Outcome> wait(int socket, short events) const;
  };
  static Limit limit_of(std::optional<double> seconds, const std::function<bool()>& goes_on);
  // On a connection of its own; null, and why, where there is none.
  std::unique_ptr<Connection> begin(std::string_view path, std::string_view message, std::optional<double> seconds,
                                    const Limit& limit, Reply& failed);
  Reply finish(std::unique_ptr<Connection> on, const Limit& limit, bool came);
  std::unique_ptr<Connection> take(const Limit& limit, Reply::Outcome& failed);
  int connected(const Limit& limit, Reply::Outcome& failed) const;
  // Back from a call. Whether this is still open.
  bool give(std::unique_ptr<Connection> connection);

  const std::string host_, port_, authority_;
  const Headers headers_;
  const size_t most_;
  std::mutex mutex_;
  bool closed_ = false;
  size_t opening_ = 0;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::vector<int> used_;  // sockets of calls in progress
};

}  // namespace bebr
