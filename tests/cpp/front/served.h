// A front between a server behind and whoever calls.
#pragma once

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "behind.h"
#include "client.h"
#include "server/front.h"
#include "server/wire.h"
#include "wild.h"

namespace bebr::test {

inline constexpr const char* kSearch = "/bebr.v1.Points/Search";

struct Served {
  explicit Served(FrontOptions options = {}) : Served([](Front&) {}, std::move(options)) {}
  // prepare: what is done to the front before it starts.
  explicit Served(const std::function<void(Front&)>& prepare, FrontOptions options = {})
      : front(with(std::move(options)), budget) {
    front.record(1000);
    prepare(front);
    front.publish("small", "m1", std::make_shared<FakeCollection>(100));
    front.publish("large", "m1", std::make_shared<FakeCollection>(1'000'000));
    slow = std::make_shared<FakeCollection>(1'000'000, 400);
    front.publish("slow", "m1", slow);
    port = front.start();
  }
  FrontOptions with(FrontOptions options) {
    options.upstream = behind.path();
    options.loops = 2;
    options.threads = 2;
    return options;
  }
  ServerBehind behind;
  std::shared_ptr<ByteBudget> budget = std::make_shared<ByteBudget>(64 << 20);
  std::shared_ptr<FakeCollection> slow;
  Front front;
  uint16_t port = 0;
};

inline bool ok(const Reply& reply) {
  const auto status = reply.headers.find("grpc-status");
  return !reply.closed && status != reply.headers.end() && status->second == "0";
}
// The first id of a reply of the front.
inline int64_t first_id(const Reply& reply) {
  int64_t id = -1;
  if (reply.body.size() > kFrameHead + 10) std::memcpy(&id, reply.body.data() + kFrameHead + 2, sizeof id);
  return id;
}
template <typename Condition>
bool soon(const Condition& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace bebr::test
