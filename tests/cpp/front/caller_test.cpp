// The client of searches: answered by a front, and by one whose replies somebody has changed on their way.
#include "client/caller.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "../check.h"
#include "changed.h"
#include "served.h"

namespace bebr::test {
namespace {

using Outcome = bebr::Reply::Outcome;

const auto always = [] { return true; };

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
