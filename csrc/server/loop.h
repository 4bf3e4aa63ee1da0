// An event loop: some connections, and the searches that came by them. One thread; `post_*`, `drain` and `stop` are for
// others.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "server/connection.h"
#include "server/front.h"
#include "server/session_memory.h"
#include "server/wire.h"

namespace bebr {

class Loop {
 public:
  // listeners: sockets that this loop accepts from, which are its own from now on.
  Loop(Front& front, size_t number, std::vector<int> listeners);
  ~Loop();  // after stop()

  void start();
  void post_socket(int socket);
  void post_done(Jobs jobs);
  void drain();
  void stop();
  bool drained() const noexcept { return drained_; }

  // For its connections.
  Front& front() noexcept { return front_; }
  nghttp2_mem* memory() noexcept { return memory_.get(); }
  SpareStreams& spare() noexcept { return spare_streams_; }
  void touch(Connection& connection);
  void linger(Connection& connection);  // it has sent all, and waits for its client
  Connection* connection(uint64_t id) noexcept;
  // The connection to the server behind of a client's one; null where there is none to be had.
  Connection* behind(Connection& client);
  // A call whose message is complete; false: it is not to be answered here.
  bool answers(Stream& stream);
  void forget(Stream& stream, int code);  // its job is not waited for any more; code: of gRPC
  // Of the call of a leaf: bytes of its answer came; it has ended, with the whole answer or not.
  void leaf_came(Stream& leaf, size_t bytes);
  void leaf_ended(Stream& leaf, bool whole);

 private:
  bool search(Stream& stream);
  bool list(Stream& stream);
  using Deadline = std::tuple<uint64_t, uint64_t, int32_t>;  // when, connection, stream
  void run();
  void wait();
  void mail();
  void accept_from(int listener);
  void rest();
  void listen(uint32_t events);
  void add(int socket);
  Connection& adopt(int socket, Connection::Side side, std::unique_ptr<Transport> transport);
  bool refuse(Stream& stream, std::string_view collection);
  bool scatter(Stream& stream, const SearchRequest& request, std::shared_ptr<const Route> route);
  bool ask(const std::shared_ptr<Scatter>& of, size_t number);
  void make_due(LeafQueue& queue);
  void send_due();
  bool send(const LeafQueue::Waiting& one, LeafQueue& queue);
  void landed(LeafQueue& queue);
  Connection* to_leaf(const Leaf& leaf);
  void gather(Scatter& of);
  void give_up(Scatter& of);
  void ask_beside(uint64_t now);
  void withdraw(Stream& leaf);
  std::shared_ptr<Scatter> take_back(Stream& client);
  void note(const Stream& leaf, bool answered);
  void tell_asked();
  void run_ready();
  void finish(const Jobs& jobs);
  void expire();
  void settle();
  void arm(Connection& connection);
  void drop(uint64_t id);
  void close_listeners();
  void wake() noexcept;

  Front& front_;
  const size_t number_;
  std::vector<int> listeners_;
  uint64_t rests_until_ = 0;  // 0: it listens
  int epoll_ = -1, event_ = -1, spare_ = -1;
  SessionMemory memory_;  // of the connections, which it outlives
  SpareStreams spare_streams_;
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<uint64_t> touched_;
  std::deque<std::pair<uint64_t, uint64_t>> young_;      // when, connection: those that have not greeted yet
  std::deque<std::pair<uint64_t, uint64_t>> lingering_;  // when, connection
  std::set<Deadline> deadlines_;
  std::set<Deadline> due_;                             // of searches of shards (Scatter::due)
  std::unordered_map<std::string, uint64_t> leaves_;   // by their key: the connections to them
  std::unordered_map<std::string, LeafQueue> queues_;  // those that are not empty; by leaf, collection and kind
  std::vector<LeafQueue*> due_queues_;
  std::string queue_key_;  // of the one that was looked for last
  size_t turns_ = 0;
  std::vector<LeafCall> asked_;  // since they were told of
  Jobs ready_;
  uint64_t next_ = 1;  // 0 is none
  size_t next_loop_ = 0;
  bool told_ = false;

  std::mutex mutex_;
  std::vector<int> sockets_;
  Jobs done_;
  std::atomic<bool> draining_{false}, drained_{false}, stopping_{false};
  std::thread thread_;
};

}  // namespace bebr
