#include "server/loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "base/error.h"
#include "server/slices.h"

namespace bebr {
namespace {

constexpr uint64_t kWake = ~uint64_t{0};  // what an event is of: the loop's own, or a listener, or a connection
constexpr uint64_t kListener = uint64_t{1} << 63;
constexpr uint64_t kRest = 50'000'000;    // ns until connections are accepted again, where there was no descriptor
constexpr uint64_t kLinger = 50'000'000;  // ns between two looks whether a client has taken what it was sent

}  // namespace

Loop::Loop(Front& front, size_t number, std::vector<int> listeners)
    : front_(front), number_(number), listeners_(std::move(listeners)) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (epoll_ < 0 || event_ < 0) fail(ErrorCode::LimitExceeded, std::string("no event loop: ") + std::strerror(errno));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWake;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &event);
  for (size_t i = 0; i < listeners_.size(); ++i) {
    event.data.u64 = kListener | i;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, listeners_[i], &event);
  }
}

Loop::~Loop() {
  close_listeners();
  for (const int socket : sockets_) close(socket);
  for (const int file : {epoll_, event_, spare_})
    if (file >= 0) close(file);
}

void Loop::start() {
  thread_ = std::thread([this] {
    ask_for_short_slices();
    run();
  });
}

void Loop::wake() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event_, &one, sizeof one);
}

void Loop::post_socket(int socket) {
  {
    const std::lock_guard lock(mutex_);
    sockets_.push_back(socket);
  }
  wake();
}

void Loop::post_done(Jobs jobs) {
  {
    const std::lock_guard lock(mutex_);
    done_.insert(done_.end(), std::make_move_iterator(jobs.begin()), std::make_move_iterator(jobs.end()));
  }
  wake();
}

void Loop::drain() {
  draining_ = true;
  wake();
}

void Loop::stop() {
  stopping_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
}

void Loop::run() {
  while (!stopping_) {
    try {
      wait();
      expire();  // nobody searches for those whose time is over
      run_ready();
      send_due();
      tell_asked();  // before any reply that it is about
      settle();
      tell_asked();
    } catch (const std::exception&) {  // of memory: what was being done is lost with its connection, others go on
      settle();
    }
    if (draining_ && !told_) {
      told_ = true;
      close_listeners();
      for (const auto& [id, connection] : connections_)
        if (connection->side() == Connection::Side::Client) connection->go_away();
      settle();
    }
    if (told_ && !drained_) {
      const bool quiet = std::all_of(connections_.begin(), connections_.end(), [](const auto& one) {
        return one.second->side() != Connection::Side::Client || (one.second->streams() == 0 && !one.second->owes());
      });
      if (quiet) {
        drained_ = true;
        const std::lock_guard lock(front_.mutex_);
        front_.drained_.notify_all();
      }
    }
  }
  // Those of clients first: a search of theirs that loses a leaf would be forwarded.
  std::vector<uint64_t> clients;
  for (const auto& [id, one] : connections_)
    if (one->side() == Connection::Side::Client) clients.push_back(id);
  for (const uint64_t id : clients) drop(id);
  while (!connections_.empty()) drop(connections_.begin()->first);
}

void Loop::wait() {
  uint64_t until = due_queues_.empty() ? ~uint64_t{0} : 0;  // of a connection that was lost while it was flushed
  if (!deadlines_.empty()) until = std::min(until, std::get<0>(*deadlines_.begin()));
  if (!young_.empty()) until = std::min(until, young_.front().first);
  if (!due_.empty()) until = std::min(until, std::get<0>(*due_.begin()));
  if (!lingering_.empty()) until = std::min(until, lingering_.front().first);
  if (rests_until_ != 0) until = std::min(until, rests_until_);
  int timeout = -1;
  if (until != ~uint64_t{0}) {
    const uint64_t now = now_ns();
    timeout = until <= now ? 0 : static_cast<int>(std::min<uint64_t>((until - now) / 1'000'000 + 1, 60'000));
  }
  epoll_event events[64];
  const int n = epoll_wait(epoll_, events, 64, timeout);
  if (rests_until_ != 0 && now_ns() >= rests_until_) {
    rests_until_ = 0;
    listen(EPOLLIN);
  }
  for (int i = 0; i < n; ++i) {
    const uint64_t of = events[i].data.u64;
    if (of == kWake) {
      mail();
    } else if ((of & kListener) != 0) {
      if (const size_t at = of & ~kListener; at < listeners_.size()) accept_from(listeners_[at]);
    } else if (Connection* const found = connection(of); found != nullptr && !found->dead()) {
      if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        found->receive();
      else
        touch(*found);
    }
  }
}

// Takes no connections for a while.
void Loop::rest() {
  rests_until_ = now_ns() + kRest;
  listen(0);
}

void Loop::listen(uint32_t events) {
  epoll_event event{};
  event.events = events;
  for (size_t i = 0; i < listeners_.size(); ++i) {
    event.data.u64 = kListener | i;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, listeners_[i], &event);
  }
}

void Loop::mail() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(event_, &count, sizeof count);
  std::vector<int> sockets;
  Jobs done;
  {
    const std::lock_guard lock(mutex_);
    sockets.swap(sockets_);
    done.swap(done_);
  }
  for (const int socket : sockets) add(socket);
  finish(done);
}

void Loop::tell_asked() {
  if (!asked_.empty()) front_.tell(std::exchange(asked_, {}));
}

void Loop::touch(Connection& connection) {
  if (connection.touched) return;
  connection.touched = true;
  touched_.push_back(connection.id());
}

void Loop::linger(Connection& connection) { lingering_.emplace_back(now_ns() + kLinger, connection.id()); }

// Sends what is due. What one connection does may be for another.
void Loop::settle() {
  while (!touched_.empty()) {
    const std::vector<uint64_t> now = std::exchange(touched_, {});
    for (const uint64_t id : now) {
      Connection* const found = connection(id);
      if (found == nullptr) continue;
      found->touched = false;
      if (!found->dead()) found->flush();
      if (found->dead())
        drop(id);
      else
        arm(*found);
    }
  }
}

void Loop::arm(Connection& connection) {
  if (connection.wants_write == connection.armed) return;
  connection.armed = connection.wants_write;
  epoll_event event{};
  event.events = EPOLLIN | (connection.armed ? uint32_t{EPOLLOUT} : 0u);
  event.data.u64 = connection.id();
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket(), &event);
}

}  // namespace bebr
