// How a loop comes by its connections, and how it ends them.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "server/loop.h"

namespace bebr {
namespace {

constexpr uint64_t kGreeting = 20'000'000'000;  // ns that a connection has for its first frame

constexpr int kClientSilence = 120'000, kLeafSilence = 20'000;  // ms that what was sent may lie unread

void set_options(int socket, int silence) {
  const auto set = [&](int level, int name, int value) { setsockopt(socket, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, silence);
}

}  // namespace

void Loop::accept_from(int listener) {
  for (;;) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) {
      if (errno != EMFILE && errno != ENFILE) return;
      // Without a descriptor for it, the connection would wait for ever, and wake this loop for ever.
      if (spare_ < 0) spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
      if (spare_ < 0) return rest();  // another thread took it, the last time
      close(spare_);
      ++front_.counts_.refused;  // before its client may know
      const int refused = accept(listener, nullptr, nullptr);
      if (refused >= 0) close(refused);
      spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
      return;
    }
    if (front_.open_connections_ >= front_.options_.connections) {
      ++front_.counts_.refused;
      close(socket);
      continue;
    }
    ++front_.open_connections_;
    ++front_.counts_.connections;
    next_loop_ = (next_loop_ + 1) % front_.loops_.size();
    if (next_loop_ == number_)
      add(socket);
    else
      front_.loops_[next_loop_]->post_socket(socket);
  }
}

void Loop::add(int socket) {
  set_options(socket, kClientSilence);
  try {
    Connection& made = adopt(socket, Connection::Side::Client,
                             front_.tls_ ? tls_transport(*front_.tls_, socket) : plain_transport(socket));
    made.peer = peer_name(socket);
    young_.emplace_back(now_ns() + kGreeting, made.id());
    if (told_) made.go_away();
  } catch (const std::exception&) {
    close(socket);
    --front_.open_connections_;
  }
}

Connection& Loop::adopt(int socket, Connection::Side side, std::unique_ptr<Transport> transport) {
  const uint64_t id = next_++;
  auto& kept = connections_[id];
  try {
    kept = std::make_unique<Connection>(*this, id, socket, side, std::move(transport));
  } catch (...) {
    connections_.erase(id);
    throw;
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
  touch(*kept);
  return *kept;
}

Connection* Loop::connection(uint64_t id) noexcept {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

Connection* Loop::behind(Connection& client) {
  if (Connection* const found = client.other == 0 ? nullptr : connection(client.other))
    if (!found->dead()) return found;
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) return nullptr;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = front_.options_.upstream;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(socket);
    return nullptr;
  }
  Connection* made = nullptr;
  try {
    made = &adopt(socket, Connection::Side::Behind, plain_transport(socket));
  } catch (const std::exception&) {
    close(socket);
    return nullptr;
  }
  made->other = client.id();
  client.other = made->id();
  return made;
}

Connection* Loop::to_leaf(const Leaf& leaf) {
  uint64_t& known = leaves_[leaf.key];
  if (Connection* const found = known == 0 ? nullptr : connection(known); found != nullptr && found->open())
    return found;
  const int socket = ::socket(leaf.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) return nullptr;
  set_options(socket, kLeafSilence);
  if (connect(socket, reinterpret_cast<const sockaddr*>(&leaf.address), leaf.size) != 0 && errno != EINPROGRESS) {
    close(socket);
    return nullptr;
  }
  try {
    Connection& made = adopt(socket, Connection::Side::Leaf, plain_transport(socket));
    known = made.id();
    return &made;
  } catch (const std::exception&) {
    close(socket);
    return nullptr;
  }
}

void Loop::drop(uint64_t id) {
  const auto found = connections_.find(id);
  const std::unique_ptr<Connection> gone = std::move(found->second);
  connections_.erase(found);
  gone->close();
  if (gone->side() == Connection::Side::Client) {
    --front_.open_connections_;
    if (Connection* const other = connection(gone->other); other != nullptr && other->other == id) other->set_dead();
  }
  if (gone->side() == Connection::Side::Leaf) std::erase_if(leaves_, [&](const auto& one) { return one.second == id; });
  epoll_ctl(epoll_, EPOLL_CTL_DEL, gone->socket(), nullptr);
}

void Loop::close_listeners() {
  for (const int listener : listeners_) close(listener);  // which takes them from epoll, too
  listeners_.clear();
}

}  // namespace bebr
