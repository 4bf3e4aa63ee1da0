// The client of searches: answered by a front, and by one whose replies somebody has changed on their way.
#include "client/caller.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "../check.h"
#include "served.h"
#include "sockets.h"

namespace bebr::test {
namespace {

using Outcome = bebr::Reply::Outcome;

const auto always = [] { return true; };

// Hands connections on to a front, and changes what comes back.
class Changed {
 public:
  Changed(uint16_t front, uint32_t seed) : front_(front), random_(seed) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 8);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int client = 0; (client = accept(listener_, nullptr, nullptr)) >= 0;) serve(client);
    });
  }
  ~Changed() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  uint16_t port = 0;

 private:
  void serve(int client) {
    const int front = connect_to(front_);
    pollfd both[2] = {{client, POLLIN, 0}, {front, POLLIN, 0}};
    char bytes[4096];
    for (bool open = front >= 0; open && poll(both, 2, 50) > 0;) {
      for (int i = 0; i < 2 && open; ++i) {
        if (both[i].revents == 0) continue;
        const ssize_t got = recv(both[i].fd, bytes, sizeof bytes, 0);
        std::string some(bytes, static_cast<size_t>(got > 0 ? got : 0));
        if (i == 1) change(some);
        open = got > 0 && send_all(both[1 - i].fd, some);
      }
    }
    close(client);
    if (front >= 0) close(front);
  }
  void change(std::string& bytes) {
    for (uint32_t n = below(random_, 4); n > 0 && !bytes.empty(); --n) {
      const size_t at = below(random_, static_cast<uint32_t>(bytes.size()));
      switch (below(random_, 4)) {
        case 0:
          bytes[at] = static_cast<char>(random_());
          break;
        case 1:
          bytes.erase(at, 1 + below(random_, 9));
          break;
        case 2:
          bytes.insert(at, bytes.substr(below(random_, static_cast<uint32_t>(bytes.size())), 20));
          break;
        default:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(random_, 8));
      }
    }
  }

  const uint16_t front_;
  Random random_;
  int listener_ = -1;
  std::thread thread_;
};

std::string search(float first, uint32_t k) { return search_message("small", first, k).substr(kFrameHead); }

Caller caller_of(uint16_t port) { return Caller("127.0.0.1", std::to_string(port), "localhost", {}, 4); }

}  // namespace

void fuzz_caller(size_t calls, uint32_t seed) {
  Served served;
  Changed changed(served.port, seed);
  Caller caller = caller_of(changed.port);
  for (size_t i = 0; i < calls; ++i) {
    const bebr::Reply reply = caller.call(kSearch, search(3, 2), .05, always);
    CHECK(reply.outcome != Outcome::Busy && reply.outcome != Outcome::Closed, "call " << i);
  }
}

namespace {

BEBR_TEST(the_client_of_searches_is_answered) {
  Served served;
  Caller caller = caller_of(served.port);
  const bebr::Reply reply = caller.call(kSearch, search(7, 2), 20.0, always);
  CHECK(reply.outcome == Outcome::Answered && reply.status == 0, reply.status);
  CHECK(first_id({false, std::string(kFrameHead, '\0') + reply.body, {}, 0}) == 7, "the row that was asked for");
  std::atomic<size_t> answered{0}, busy{0}, others{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)  // twice as many as there are connections
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const Outcome outcome = caller.call(kSearch, search(1, 1), 20.0, always).outcome;
        ++(outcome == Outcome::Busy ? busy : outcome == Outcome::Answered ? answered : others);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(others == 0 && served.front.counts().answered == 1 + answered, busy << ' ' << others);
}

BEBR_TEST(replies_that_were_changed_end_a_call_and_nothing_else) { fuzz_caller(60, 1); }

}  // namespace
}  // namespace bebr::test
