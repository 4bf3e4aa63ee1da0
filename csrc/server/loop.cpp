#include "server/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "base/error.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr uint64_t kWake = ~uint64_t{0};  // what an event is of: the loop's own, or a listener, or a connection
constexpr uint64_t kListener = uint64_t{1} << 63;
constexpr uint64_t kGreeting = 20'000'000'000;  // ns that a connection has for its first frame
constexpr size_t kOwnReply = 256 << 10;         // bytes of a reply that is made here
constexpr size_t kInlineRows = 100'000;         // that this thread looks at itself between two events
constexpr size_t kAnswerBytes = 32;             // bebr/serve/servicer.py: an answer while its reply is made
constexpr size_t kCopies = 4;                   // bebr/serve/admission.py
constexpr size_t kSmallBytes = 1 << 20;

void set_option(int socket, int level, int name, int value) { setsockopt(socket, level, name, &value, sizeof value); }

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
  thread_ = std::thread([this] { run(); });
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
      run_ready();
      expire();
      settle();
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
        return one.second->side() == Connection::Side::Behind || one.second->streams() == 0;
      });
      if (quiet) {
        drained_ = true;
        const std::lock_guard lock(front_.mutex_);
        front_.drained_.notify_all();
      }
    }
  }
  while (!connections_.empty()) drop(connections_.begin()->first);
}

void Loop::wait() {
  uint64_t until = ~uint64_t{0};
  if (!deadlines_.empty()) until = std::get<0>(*deadlines_.begin());
  if (!young_.empty()) until = std::min(until, young_.front().first);
  int timeout = -1;
  if (until != ~uint64_t{0}) {
    const uint64_t now = now_ns();
    timeout = until <= now ? 0 : static_cast<int>(std::min<uint64_t>((until - now) / 1'000'000 + 1, 60'000));
  }
  epoll_event events[64];
  const int n = epoll_wait(epoll_, events, 64, timeout);
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

// --- connections

void Loop::accept_from(int listener) {
  for (;;) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) {
      if ((errno != EMFILE && errno != ENFILE) || spare_ < 0) return;
      // Without a descriptor for it, the connection would wait for ever, and wake this loop for ever.
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
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 120'000);  // ms that what was sent may lie unread
  try {
    Connection& made = adopt(socket, Connection::Side::Client,
                             front_.tls_ ? tls_transport(*front_.tls_, socket) : plain_transport(socket));
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

void Loop::touch(Connection& connection) {
  if (connection.touched) return;
  connection.touched = true;
  touched_.push_back(connection.id());
}

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

void Loop::drop(uint64_t id) {
  const auto found = connections_.find(id);
  const std::unique_ptr<Connection> gone = std::move(found->second);
  connections_.erase(found);
  gone->close();
  if (gone->side() == Connection::Side::Client) {
    --front_.open_connections_;
    if (Connection* const other = connection(gone->other); other != nullptr && other->other == id) other->set_dead();
  }
  epoll_ctl(epoll_, EPOLL_CTL_DEL, gone->socket(), nullptr);
}

void Loop::close_listeners() {
  for (const int listener : listeners_) close(listener);  // which takes them from epoll, too
  listeners_.clear();
}

// --- searches

bool Loop::search(Stream& stream) {
  const std::optional<SearchRequest> request = read_search(std::string_view(stream.in).substr(kFrameHead));
  if (!request) return false;
  const std::shared_ptr<const Published> shown = front_.shelf_.find(request->collection);
  if (!shown || (!request->model.empty() && request->model != shown->model)) return false;
  const Searcher& searcher = *shown->searcher;
  const FrontOptions& limits = front_.options_;
  const size_t count = request->count, depth = request->asked.k + request->offset;
  const size_t rescore = request->asked.rescore.value_or(0), rows = std::max(depth, rescore);
  if (count < 1 || count > limits.most_batch || count > limits.queries) return false;
  if (rows > limits.k || count * rows > limits.answers || count * depth > kOwnReply / 12) return false;
  if (request->dimension != searcher.query_dim() || (!request->asked.coded && !searcher.has_decoder())) return false;
  if (rescore > 0 && !searcher.keeps_vectors()) return false;
  auto job = std::make_shared<Job>();
  if (!read_queries(*request, job->queries)) return false;
  job->asked = request->asked;
  job->asked.k = depth;
  const size_t answers = count * (rows + searcher.candidates(depth, job->asked.rescore));
  const size_t size = kAnswerBytes * answers + kCopies * stream.in.size();
  ByteBudget& budget = *front_.budget_;
  if (!stream.lease.take(budget, size, size <= kSmallBytes ? budget.total() : budget.total() - budget.total() / 4))
    return false;
  job->collection = shown->name;
  job->offset = request->offset;
  job->count = count;
  job->arrival = stream.arrival;
  job->cost = count * searcher.rows();
  job->loop = number_;
  job->connection = stream.connection.id();
  job->stream = stream.id;
  stream.job = job;
  ready_.push_back(std::move(job));
  if (stream.deadline > 0) deadlines_.emplace(stream.deadline, stream.connection.id(), stream.id);
  return true;
}

void Loop::forget(Stream& stream, int code) {
  if (stream.deadline > 0) deadlines_.erase({stream.deadline, stream.connection.id(), stream.id});
  if (!stream.job) return;
  stream.job->cancel();
  front_.finished(*stream.job, code);
  stream.job.reset();
  ++front_.counts_.cancelled;
}

// What came with the last events: few rows are looked at here and now, where nobody else does; that costs less than to
// hand them over.
void Loop::run_ready() {
  if (ready_.empty()) return;
  Jobs ready = std::exchange(ready_, {});
  size_t cost = 0;
  for (const std::shared_ptr<Job>& job : ready) cost += job->cost;
  if (cost > kInlineRows || !front_.batcher_->idle()) return front_.batcher_->add(std::move(ready));
  for (size_t begin = 0; begin < ready.size();) {
    Jobs alike{ready[begin]};
    size_t queries = ready[begin]->count, kept = begin + 1;
    for (size_t i = begin + 1; i < ready.size(); ++i) {
      const Job& one = *ready[i];
      if (one.collection == alike.front()->collection && one.asked.alike(alike.front()->asked) &&
          queries + one.count <= front_.options_.most_batch) {
        queries += one.count;
        alike.push_back(ready[i]);
        std::swap(ready[i], ready[kept++]);
      }
    }
    begin = kept;
    answer(front_.shelf_, alike);
    finish(alike);
  }
}

void Loop::finish(const Jobs& jobs) {
  for (const std::shared_ptr<Job>& job : jobs) {
    Connection* const found = connection(job->connection);
    Stream* const stream = found == nullptr ? nullptr : found->stream(job->stream);
    if (stream == nullptr || stream->job != job) continue;
    if (stream->deadline > 0) deadlines_.erase({stream->deadline, found->id(), stream->id});
    stream->job.reset();
    if (job->outcome == Outcome::Answered) {
      ++front_.counts_.answered;
      front_.finished(*job, 0);
      found->reply(*stream, std::move(job->reply));
    } else if (job->outcome == Outcome::Failed) {  // whatever is wrong, the server behind has words for it
      stream->lease = {};
      found->forward(*stream);
    } else {
      found->fail(*stream, "14", "the server stops");
    }
  }
}

void Loop::expire() {
  const uint64_t now = now_ns();
  while (!deadlines_.empty() && std::get<0>(*deadlines_.begin()) <= now) {
    const auto [when, id, number] = *deadlines_.begin();
    deadlines_.erase(deadlines_.begin());
    Connection* const found = connection(id);
    Stream* const stream = found == nullptr ? nullptr : found->stream(number);
    if (stream == nullptr || !stream->job) continue;
    forget(*stream, 4);
    ++front_.counts_.late;
    found->fail(*stream, "4", "Deadline Exceeded");
  }
  while (!young_.empty() && young_.front().first <= now) {
    Connection* const found = connection(young_.front().second);
    young_.pop_front();
    if (found != nullptr && !found->greeted()) found->set_dead();
  }
}

}  // namespace bebr
