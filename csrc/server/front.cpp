#include "server/front.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <utility>

#include "base/error.h"
#include "server/loop.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr int kBacklog = 1024;
constexpr size_t kMostDenied = 1000, kMostSpans = 10'000, kMostAsked = 100'000;  // that are told of at a time

struct Listeners {
  std::vector<int> sockets;
  ~Listeners() {
    for (const int socket : sockets) close(socket);
  }
  std::vector<int> release() { return std::exchange(sockets, {}); }
};

uint16_t port_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// A socket that listens at the address; -1, with errno.
int listening(const addrinfo& at, uint16_t port, bool shared) {
  const int socket = ::socket(at.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  sockaddr_storage address{};
  std::memcpy(&address, at.ai_addr, at.ai_addrlen);
  const int on = 1, off = 0;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (shared) setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (at.ai_family == AF_INET6) {
    auto& six = reinterpret_cast<sockaddr_in6&>(address);
    six.sin6_port = htons(port);
    // "::" stands for IPv4 as well.
    const bool any = IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr);
    setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on, sizeof on);
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  }
  if (bind(socket, reinterpret_cast<const sockaddr*>(&address), at.ai_addrlen) == 0 && listen(socket, kBacklog) == 0)
    return socket;
  const int error = errno;
  close(socket);
  errno = error;
  return -1;
}

// At every address that the host stands for; those that this machine has not are passed over.
Listeners listen_at(const std::string& host, uint16_t port, bool shared) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const std::string where = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (error != 0) fail(ErrorCode::Io, "cannot listen on " + where + ": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  Listeners listeners;
  int last = EADDRNOTAVAIL;
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    const int socket = listening(*at, port, shared);
    if (socket >= 0) {
      listeners.sockets.push_back(socket);
      port = port_of(socket);  // the others get the same
    } else {
      last = errno;
      if (last != EADDRNOTAVAIL && last != EAFNOSUPPORT) break;
    }
  }
  if (listeners.sockets.empty() || (last != EADDRNOTAVAIL && last != EAFNOSUPPORT))
    fail(ErrorCode::Io, "cannot listen on " + where + ":" + std::to_string(port) +
                            ": in use, or not an address of this machine: " + std::strerror(last));
  return listeners;
}

// Eight hexadecimal digits.
std::string random_word() {
  std::random_device random;
  char word[9];
  std::snprintf(word, sizeof word, "%08x", static_cast<unsigned>(random()));
  return word;
}

}  // namespace

Front::Front(FrontOptions options, std::shared_ptr<ByteBudget> budget)
    : options_(std::move(options)),
      budget_(std::move(budget)),
      shelf_(options_.bounds, options_.loops),
      run_(random_word()),
      means_{shelf_, *budget_, options_.reply_bytes} {
  if (options_.upstream.size() >= sizeof sockaddr_un{}.sun_path)
    fail(ErrorCode::InvalidArgument, "upstream is a path of " + std::to_string(options_.upstream.size()) +
                                         " bytes: want fewer than " + std::to_string(sizeof sockaddr_un{}.sun_path));
  if (options_.loops < 1 || options_.threads < 1 || options_.most_batch < 1)
    fail(ErrorCode::InvalidArgument, "loops, threads or most_batch is 0: want at least 1");
  news_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (news_ < 0) fail(ErrorCode::LimitExceeded, std::string("no event file: ") + std::strerror(errno));
}

Front::~Front() {
  stop();
  close(news_);
}

uint16_t Front::start() {
  tls_ = make_tls(options_.tls);
  Listeners listeners = listen_at(options_.host, options_.port, options_.shared);
  const uint16_t port = port_of(listeners.sockets.front());
  const auto done = [this](Jobs jobs) {
    std::vector<Jobs> of(loops_.size());
    for (std::shared_ptr<Job>& job : jobs) of[job->loop].push_back(std::move(job));
    for (size_t i = 0; i < of.size(); ++i)
      if (!of[i].empty()) loops_[i]->post_done(std::move(of[i]));
  };
  for (size_t i = 0; i < options_.loops; ++i)
    loops_.push_back(std::make_unique<Loop>(*this, i, i == 0 ? listeners.release() : std::vector<int>{}));
  batcher_ = std::make_unique<Batcher>(means_, options_.threads, options_.most_batch, done);
  for (const std::unique_ptr<Loop>& loop : loops_) loop->start();
  return port;
}

bool Front::drain(double grace) {
  for (const std::unique_ptr<Loop>& loop : loops_) loop->drain();
  std::unique_lock lock(mutex_);
  return drained_.wait_for(lock, std::chrono::duration<double>(grace), [&] {
    for (const std::unique_ptr<Loop>& loop : loops_)
      if (!loop->drained()) return false;
    return true;
  });
}

void Front::stop() {
  for (const std::unique_ptr<Loop>& loop : loops_) loop->stop();
  batcher_.reset();
  loops_.clear();
}

void Front::finished(const Job& job, int code, const Stream& stream) {
  Ended ended{code, now_ns() - stream.arrival};
  if (code == 0) {  // else its search may still be under way, in another thread
    ended.queued = job.began - job.arrival;
    ended.searched = job.searched;
    ended.batch = job.batch;
    ended.scanned = job.scanned;
    ended.survivors = job.survivors;
  }
  if (counting_) shelf_.count(*job.counts, job.loop, ended);
  std::optional<Finished> made = told(stream, ended);
  if (!made) return;
  made->collection = job.alias.empty() ? job.collection : job.alias;
  made->queries = job.count;
  made->asked = job.asked;
  made->filter = filter_of_key(job.filter);
  tell(std::move(*made));
}

void Front::ended(std::string_view collection, int code, const Stream& stream, size_t loop) {
  const Ended ended{code, now_ns() - stream.arrival};
  if (counting_) shelf_.count(*shelf_.counts(collection), loop, ended);
  if (std::optional<Finished> made = told(stream, ended)) {
    made->collection = collection;
    tell(std::move(*made));
  }
}

std::optional<Finished> Front::told(const Stream& stream, const Ended& ended) {
  const bool traced = sampling_.on() && sampling_.chooses(value_of(stream.headers, "traceparent"));
  if (most_finished_ == 0 && !traced) return std::nullopt;
  Finished made;
  static_cast<Ended&>(made) = ended;
  made.ended = stream.arrival + ended.elapsed;
  made.request_id = stream.request_id;
  made.peer = stream.connection->peer;
  made.traced = traced;
  if (const std::string_view parent = value_of(stream.headers, "traceparent"); traced && recorded(parent)) {
    made.traceparent = parent;
    // Other bytes are no text that Python could take.
    const std::string_view state = value_of(stream.headers, "tracestate");
    if (std::all_of(state.begin(), state.end(), [](char c) { return c >= ' ' && c <= '~'; })) made.tracestate = state;
  }
  return made;
}

void Front::tell(Finished one) {
  const size_t most = std::max<size_t>(most_finished_, one.traced ? kMostSpans : 0);
  const std::lock_guard lock(finished_mutex_);
  if (finished_.size() >= most) return;
  if (finished_.empty()) announce();
  finished_.push_back(std::move(one));
}

void Front::tell(std::vector<LeafCall> some) {
  const std::lock_guard lock(finished_mutex_);
  some.resize(std::min(some.size(), kMostAsked - asked_.size()));
  asked_.insert(asked_.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
}

std::vector<LeafCall> Front::take_asked() {
  const std::lock_guard lock(finished_mutex_);
  return std::exchange(asked_, {});
}

void Front::stale(std::string_view collection) {
  const std::lock_guard lock(finished_mutex_);
  if (stale_.empty()) announce();
  stale_.emplace_back(collection);
}

std::vector<std::string> Front::take_stale() {
  const std::lock_guard lock(finished_mutex_);
  return std::exchange(stale_, {});
}

void Front::announce() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(news_, &one, sizeof one);
}

void Front::set_keys(std::shared_ptr<const KeyTable> keys) {
  const std::lock_guard lock(keys_mutex_);
  keys_.swap(keys);  // and the one before is let go outside of the lock
}

std::shared_ptr<const KeyTable> Front::keys() const {
  const std::lock_guard lock(keys_mutex_);
  return keys_;
}

std::string Front::request_id(const Headers& headers) {
  const std::string_view given = value_of(headers, kRequestId);
  return good_request_id(given) ? std::string(given) : run_ + "-" + std::to_string(++request_ids_);
}

void Front::denied(const std::string& peer, std::string_view path) {
  ++counts_.denied;
  const std::lock_guard lock(finished_mutex_);
  if (denied_.size() >= kMostDenied) return;
  if (denied_.empty()) announce();
  denied_.emplace_back(peer, path);
}

std::vector<std::pair<std::string, std::string>> Front::take_denied() {
  const std::lock_guard lock(finished_mutex_);
  return std::exchange(denied_, {});
}

std::vector<Finished> Front::take_finished() {
  const std::lock_guard lock(finished_mutex_);
  return std::exchange(finished_, {});
}

void Front::publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher) {
  shelf_.publish(collection, model, std::move(searcher));
}

bool Front::publish_filter(const std::string& collection, const Searcher& of, const std::string& filter,
                           std::shared_ptr<const Searcher> rows) {
  const std::shared_ptr<const Published> shown = shelf_.find(collection);
  return shown && shown->add(of, filter, std::move(rows));
}

}  // namespace bebr
