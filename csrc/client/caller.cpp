#include "client/caller.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace bebr {
namespace {

using Outcome = Reply::Outcome;

constexpr size_t kHead = 5;  // of a message: whether it is compressed, and its length
constexpr int kLook = 200;   // ms between two looks whether the call is still wanted
constexpr int32_t kWindow = 4 << 20;

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// At most eight digits and a unit.
std::string timeout_text(double seconds) {
  const double us = std::max(1.0, seconds * 1e6);
  if (us < 1e8) return std::to_string(static_cast<uint64_t>(us)) + "u";
  return std::to_string(static_cast<uint64_t>(std::min(us / 1e6, 99'999'999.0))) + "S";
}

}  // namespace

// One connection, and the call that it makes. The server may send what it likes: nghttp2 checks it.
class Caller::Connection {
 public:
  explicit Connection(int socket) : socket_(socket) {
    const int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    nghttp2_session_client_new(&session_, callbacks(), this);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
  }
  ~Connection() {
    nghttp2_session_del(session_);
    ::close(socket_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int socket() const noexcept { return socket_; }
  bool good() const noexcept { return !broken_ && nghttp2_session_check_request_allowed(session_) != 0; }
  // Reads what came while nobody called. Whether it may be used.
  bool look() {
    while (good()) {
      const ssize_t got = receive();
      if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
      if (got == 0) return false;
    }
    return false;
  }

  // Sends what the socket takes at once. headers: all of the request; message: is there until the call is finished.
  void begin(const std::vector<nghttp2_nv>& headers, std::string_view message) {
    reply_ = {};
    status_ = {};
    ended_ = http_ok_ = false;
    sent_ = 0;
    message_ = message;
    head_[0] = 0;
    for (size_t i = 0; i < 4; ++i) head_[1 + i] = static_cast<uint8_t>(message.size() >> (8 * (3 - i)));
    nghttp2_data_provider provider{};
    provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* to, size_t size, uint32_t* flags,
                                nghttp2_data_source*, void* user) -> ssize_t {
      return static_cast<Connection*>(user)->read(to, size, flags);
    };
    stream_ = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &provider, nullptr);
    if (stream_ < 0 || !send()) broken_ = true;
  }

  // came: what is there already is taken first, be it late, since others were waited for.
  Reply finish(const Limit& limit, bool came) {
    for (int i = 0; came && i < kCame && !broken_ && !ended_ && receive() > 0; ++i) {
    }
    if (broken_) return broken();
    while (!ended_) {
      if (!send()) return broken();
      if (const auto failed = limit.wait(socket_, static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT)))) {
        Reply given_up;
        given_up.outcome = *failed;
        broken_ = true;  // with its connection the server ends the call
        return given_up;
      }
      const ssize_t got = receive();
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) return broken();
    }
    if (sent_ < kHead + message_.size()) broken_ = true;  // answered before it had all: the rest is not worth sending
    return finished();
  }

 private:
  static nghttp2_session_callbacks* callbacks() {
    static nghttp2_session_callbacks* const made = [] {
      nghttp2_session_callbacks* all = nullptr;
      nghttp2_session_callbacks_new(&all);
      nghttp2_session_callbacks_set_on_header_callback(
          all, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                  const uint8_t* value, size_t value_size, uint8_t, void* user) {
            static_cast<Connection*>(user)->take(frame->hd.stream_id, {reinterpret_cast<const char*>(name), name_size},
                                                 {reinterpret_cast<const char*>(value), value_size});
            return 0;
          });
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
          all, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
            auto& on = *static_cast<Connection*>(user);
            if (id == on.stream_) on.reply_.body.append(reinterpret_cast<const char*>(data), size);
            return 0;
          });
      nghttp2_session_callbacks_set_on_frame_recv_callback(
          all, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
            auto& on = *static_cast<Connection*>(user);
            const bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                              (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA);
            if (last && frame->hd.stream_id == on.stream_) on.ended_ = true;
            return 0;
          });
      nghttp2_session_callbacks_set_on_stream_close_callback(all,
                                                             [](nghttp2_session*, int32_t id, uint32_t, void* user) {
                                                               auto& on = *static_cast<Connection*>(user);
                                                               if (id == on.stream_) on.ended_ = true;
                                                               return 0;
                                                             });
      return all;
    }();
    return made;
  }

  void take(int32_t id, std::string_view name, std::string_view value) {
    if (id != stream_) return;
    if (name == ":status") http_ok_ = value == "200";
    if (name == "grpc-message") reply_.message = value;
    if (name == "grpc-status") {
      int number = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
      if (error == std::errc() && end == value.data() + value.size()) status_ = number;
    }
  }

  // What of the message, its head before it, is to be sent next.
  ssize_t read(uint8_t* to, size_t size, uint32_t* flags) {
    size_t taken = 0;
    if (sent_ < kHead) {
      taken = std::min(size, kHead - sent_);
      std::memcpy(to, head_ + sent_, taken);
    }
    const size_t at = sent_ + taken - kHead, some = std::min(size - taken, message_.size() - at);
    if (sent_ + taken >= kHead) {
      std::memcpy(to + taken, message_.data() + at, some);
      taken += some;
    }
    sent_ += taken;
    if (sent_ == kHead + message_.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(taken);
  }

  // As much as the socket takes now. False where it takes nothing any more.
  bool send() {
    for (;;) {
      const uint8_t* bytes = nullptr;
      ssize_t n = 0;
      while (out_.size() < kMostOut && (n = nghttp2_session_mem_send(session_, &bytes)) > 0)
        out_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
      if (n < 0) return false;
      if (out_.empty()) return true;
      const ssize_t sent = ::send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
      out_.erase(0, static_cast<size_t>(sent));
    }
  }

  // As of recv; what came is taken in. Bytes that are not HTTP/2 are an end.
  ssize_t receive() {
    static thread_local uint8_t bytes[64 << 10];
    const ssize_t got = recv(socket_, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0 && nghttp2_session_mem_recv(session_, bytes, static_cast<size_t>(got)) < 0) broken_ = true;
    return broken_ ? 0 : got;
  }

  Reply broken() {
    broken_ = true;
    return {};
  }

  Reply finished() {
    if (!http_ok_ || !status_) return broken();
    reply_.outcome = Outcome::Answered;
    reply_.status = *status_;
    if (reply_.status == 0) {
      const std::string& body = reply_.body;
      uint32_t size = 0;
      for (size_t i = 1; i < kHead && i < body.size(); ++i) size = size << 8 | static_cast<uint8_t>(body[i]);
      if (body.size() < kHead || body[0] != 0 || body.size() != kHead + size) return broken();
      reply_.body.erase(0, kHead);
    }
    return std::move(reply_);
  }

  static constexpr size_t kMostOut = 256 << 10;
  static constexpr int kCame = 16;  // reads

  const int socket_;
  nghttp2_session* session_ = nullptr;
  std::string out_;
  bool broken_ = false;
  // Of the call.
  int32_t stream_ = -1;
  std::string_view message_;
  uint8_t head_[kHead] = {};
  size_t sent_ = 0;
  bool ended_ = false, http_ok_ = false;
  std::optional<int> status_;
  Reply reply_;
};

Caller::Caller(std::string host, std::string port, std::string authority, Headers headers, size_t most)
    : host_(std::move(host)),
      port_(std::move(port)),
      authority_(std::move(authority)),
      headers_(std::move(headers)),
      most_(most) {}

Caller::~Caller() { close(); }

std::optional<Outcome> Caller::Limit::wait(int socket, short events) const {
  for (;;) {
    int ms = kLook;
    if (until) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - Clock::now()).count();
      if (left <= 0) return Outcome::Late;
      ms = static_cast<int>(std::min<long long>(left, ms));
    }
    pollfd polled{socket, events, 0};
    const int ready = poll(&polled, 1, ms);
    if (ready > 0) return std::nullopt;
    if (ready < 0 && errno != EINTR) return Outcome::Broken;
    if (!goes_on()) return Outcome::Stopped;
  }
}

Caller::Limit Caller::limit_of(std::optional<double> seconds, const std::function<bool()>& goes_on) {
  Limit limit{std::nullopt, goes_on};
  constexpr double kLongest = 1e8;  // a clock of nanoseconds ends after 292 years
  if (seconds)
    limit.until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                     std::chrono::duration<double>(std::min(*seconds, kLongest)));
  return limit;
}

std::unique_ptr<Caller::Connection> Caller::begin(std::string_view path, std::string_view message,
                                                  std::optional<double> seconds, const Limit& limit, Reply& failed) {
  std::unique_ptr<Connection> on = take(limit, failed.outcome);
  if (!on) return on;
  const std::string timeout = seconds ? timeout_text(*seconds) : "";
  std::vector<nghttp2_nv> headers = {header(":method", "POST"), header(":scheme", "http"),
                                     header(":path", path),     header(":authority", authority_),
                                     header("te", "trailers"),  header("content-type", "application/grpc")};
  for (const auto& [name, value] : headers_) headers.push_back(header(name, value));
  if (seconds) headers.push_back(header("grpc-timeout", timeout));
  on->begin(headers, message);
  return on;
}

Reply Caller::finish(std::unique_ptr<Connection> on, const Limit& limit, bool came) {
  Reply reply = on->finish(limit, came);
  if (!give(std::move(on)) && reply.outcome == Outcome::Broken) reply.outcome = Outcome::Closed;
  return reply;
}

Reply Caller::call(std::string_view path, std::string_view message, std::optional<double> seconds,
                   const std::function<bool()>& goes_on) {
  const Limit limit = limit_of(seconds, goes_on);
  Reply failed;
  std::unique_ptr<Connection> on = begin(path, message, seconds, limit, failed);
  return on ? finish(std::move(on), limit, false) : failed;
}

std::vector<Reply> Caller::call_all(std::span<Caller* const> callers, std::string_view path, std::string_view message,
                                    double seconds) {
  const std::function<bool()> goes_on = [] { return true; };
  const Limit limit = limit_of(seconds, goes_on);
  std::vector<Reply> replies(callers.size());
  std::vector<std::unique_ptr<Connection>> begun;
  for (size_t i = 0; i < callers.size(); ++i)
    begun.push_back(callers[i]->begin(path, message, seconds, limit, replies[i]));
  for (size_t i = 0; i < callers.size(); ++i)
    if (begun[i]) replies[i] = callers[i]->finish(std::move(begun[i]), limit, true);
  return replies;
}

std::unique_ptr<Caller::Connection> Caller::take(const Limit& limit, Outcome& failed) {
  std::unique_ptr<Connection> found;
  {
    const std::lock_guard lock(mutex_);
    while (!closed_ && !idle_.empty() && !found) {
      found = std::move(idle_.back());
      idle_.pop_back();
      if (!found->look()) found.reset();
    }
    failed = closed_ ? Outcome::Closed : Outcome::Busy;
    if (closed_ || (!found && used_.size() + opening_ >= most_)) return nullptr;
    if (found)
      used_.push_back(found->socket());
    else
      ++opening_;
  }
  if (found) return found;
  const int socket = connected(limit, failed);
  const std::lock_guard lock(mutex_);
  --opening_;
  if (socket < 0) return nullptr;
  found = std::make_unique<Connection>(socket);
  if (closed_) {
    failed = Outcome::Closed;
    return nullptr;
  }
  used_.push_back(socket);
  return found;
}

bool Caller::give(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  std::erase(used_, connection->socket());
  if (!closed_ && connection->good()) idle_.push_back(std::move(connection));
  return !closed_;
}

// A new socket to the first address of the host that takes one.
int Caller::connected(const Limit& limit, Outcome& failed) const {
  failed = Outcome::Broken;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host_.c_str(), port_.c_str(), &hints, &found) != 0) return -1;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    const int socket = ::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket < 0) continue;
    int error = connect(socket, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      if (const auto why = limit.wait(socket, POLLOUT)) {
        ::close(socket);
        failed = *why;
        return -1;
      }
      socklen_t size = sizeof error;
      getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) return socket;
    ::close(socket);
  }
  return -1;
}

void Caller::close() {
  std::vector<std::unique_ptr<Connection>> idle;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  idle.swap(idle_);
  for (const int socket : used_) shutdown(socket, SHUT_RDWR);
}

}  // namespace bebr
