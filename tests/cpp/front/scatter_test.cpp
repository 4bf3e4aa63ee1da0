// The front of a root between clients and leaves, which are fronts here: shards made one, leaves that are slow, away or
// at fault, and answers that somebody has changed on their way.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "../check.h"
#include "changed.h"
#include "messages/reader.h"
#include "served.h"
#include "server/loop.h"
#include "sockets.h"

namespace bebr::test {
namespace {

std::shared_ptr<const Leaf> leaf_at(uint16_t port, const std::string& token = "") {
  std::optional<Leaf> made = Leaf::of("127.0.0.1:" + std::to_string(port), "127.0.0.1", port, token);
  CHECK(made.has_value(), "an address in figures");
  return std::make_shared<const Leaf>(std::move(*made));
}

constexpr uint64_t kMs = 1'000'000, kEver = ~uint64_t{0};

// Of shards that all have the collection `name`, each with leaves at these ports.
std::shared_ptr<Route> route_to(const std::string& name, const std::vector<std::vector<uint16_t>>& ports) {
  const auto made = std::make_shared<Route>();
  made->models = {"m0", "m1"};
  made->renew = made->until = kEver;
  made->patience = 10'000 * kMs;
  for (const std::vector<uint16_t>& of : ports) {
    Shard& shard = made->shards.emplace_back(Shard{name, "m1", {}, 1});
    for (const uint16_t port : of) shard.leaves.push_back(leaf_at(port));
  }
  return made;
}

std::vector<int64_t> ids_of(const Reply& reply) {
  if (reply.body.size() < kFrameHead) return {};
  Reader in(std::string_view(reply.body).substr(kFrameHead));
  if (!in.more() || in.varint(~0u) != bytes_field(1)) return {};
  const std::string_view column = in.bytes();
  std::vector<int64_t> ids(column.size() / sizeof(int64_t));
  std::memcpy(ids.data(), column.data(), ids.size() * sizeof(int64_t));
  return ids;
}

// A socket that takes connections and says nothing.
struct Silent : Listening {
  Silent() : Listening(listen_on_loopback()) {}
  ~Silent() { close(socket); }
};

// One that counts the messages that come by its first connection.
struct Heard : Silent {
  int connection = -1;
  std::string bytes;
  ~Heard() {
    if (connection >= 0) close(connection);
  }
  size_t messages() {
    if (connection < 0) connection = accept4(socket, nullptr, nullptr, SOCK_NONBLOCK);
    char some[4096];
    for (ssize_t n = 0; connection >= 0 && (n = recv(connection, some, sizeof some, 0)) > 0;)
      bytes.append(some, static_cast<size_t>(n));
    size_t found = 0;
    const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<uint8_t>(bytes[at])); };
    for (size_t at = 24; at + 9 <= bytes.size();) {  // after the preface: RFC 9113, 4.1
      if (byte(at + 3) == 0) ++found;                // a frame of DATA
      at += 9 + (byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2));
    }
    return found;
  }
};

using Ids = std::vector<int64_t>;

BEBR_TEST(a_search_of_shards_is_answered_by_their_leaves) {
  Served one, other, root;
  root.front.routes().set("docs", route_to("small", {{one.port}, {other.port}}));
  HonestClient client(root.port);
  const Reply reply = client.call(kSearch, search_message("docs", 40, 3));
  CHECK(ok(reply) && ids_of(reply) == (Ids{40, 40, 41}), reply.headers.at("grpc-status"));
  CHECK(reply.headers.count("x-request-id") == 1, "an id");
  const Reply after = client.call(kSearch, with(search_message("docs", 40, 3), "\x60\x02"));
  CHECK(ids_of(after) == (Ids{41, 41, 42}), "after the first two");
  CHECK(ok(client.call(kSearch, with(search_message("docs", 40, 3), "\x40\x01"))), "with payloads");
  for (const char* model : {"\x4a\x02m0", "\x4a\x02m1"})
    CHECK(ids_of(client.call(kSearch, with(search_message("docs", 7, 1), model))) == Ids{7}, "for each shard's own");
  CHECK(root.behind.calls == 0 && root.front.counts().answered == 5, "answered here");
  CHECK(one.front.counts().answered == 5 && other.front.counts().answered == 5, "by both leaves");
  CHECK(one.front.counts().connections == 1, "over one connection");
  CHECK(soon([&] { return root.budget->held() == 0; }), root.budget->held());
  const std::vector<Finished> told = root.front.take_finished();
  CHECK(told.size() == 5 && told[0].collection == "docs" && told[0].code == 0, told.size());
  size_t answered = 0;
  for (const LeafCall& call : root.front.take_asked()) answered += call.answered ? 1 : 0;
  CHECK(answered == 10, answered);
}

BEBR_TEST(what_leaves_do_not_answer_is_forwarded) {
  Served leaf, root;
  HonestClient client(root.port);
  root.front.routes().set("docs", route_to("small", {{leaf.port}, {leaf.port}}));
  for (const std::string& more : {grouped("n", 2), std::string("\x92\x01\x01w", 4)})
    CHECK(client.call(kSearch, with(search_message("docs", 40, 3), more)).body == "behind", more.size());
  CHECK(client.call(kSearch, search_message("other", 40, 3)).body == "behind", "another collection");
  CHECK(leaf.front.counts().answered == 0, "no leaf was asked");
  CHECK(client.call(kSearch, with(search_message("docs", 40, 3), "\x4a\x02m2")).body == "behind", "another model");
  root.front.routes().set("docs", route_to("nothing", {{leaf.port}, {leaf.port}}));
  CHECK(client.call(kSearch, search_message("docs", 40, 3)).body == "behind", "a collection that leaves have not");
  const Silent closed;
  shutdown(closed.socket, SHUT_RDWR);
  root.front.routes().set("docs", route_to("small", {{leaf.port}, {closed.port}}));
  CHECK(client.call(kSearch, search_message("docs", 40, 3)).body == "behind", "a leaf that is away");
  root.front.routes().set("docs", nullptr);
  CHECK(client.call(kSearch, search_message("docs", 40, 3)).body == "behind", "no route any more");
  CHECK(root.front.counts().answered == 0 && root.front.counts().given_up >= 2, root.front.counts().given_up);
  CHECK(soon([&] { return root.budget->held() == 0; }), root.budget->held());
}

BEBR_TEST(allowed_ids_go_to_their_shards) {
  Served leaf, root;
  root.front.routes().set("docs", route_to("small", {{leaf.port}, {leaf.port}}));
  HonestClient client(root.port);
  Ids ids = ids_of(client.call(kSearch, with(search_message("docs", 40, 4), allowed({7, 9, 12}))));
  std::sort(ids.begin(), ids.end());
  CHECK(ids == (Ids{7, 9, 12}) && root.front.counts().answered == 1, ids.size());
  CHECK(ids_of(client.call(kSearch, with(search_message("docs", 40, 4), allowed({})))).empty(), "none is allowed");
  CHECK(client.call(kSearch, with(search_message("docs", 40, 4), allowed({-7}))).body == "behind", "no number");
}

BEBR_TEST(an_only_shard_is_asked_for_what_the_collection_is) {
  Served leaf, root;
  root.front.routes().set("docs", route_to("small", {{leaf.port}}));
  HonestClient client(root.port);
  const Reply reply = client.call(kSearch, with(search_message("docs", 40, 3), "\x60\x02"));
  CHECK(ids_of(reply) == (Ids{42, 43, 44}), "as the leaf says");
  CHECK(reply.body.ends_with(std::string("\x48\x01\x52\x01\x00", 5)), "of one shard, which answered");
  CHECK(framed_length(reply.body) == reply.body.size() - kFrameHead, "a whole message");
  CHECK(root.front.counts().answered == 1, "answered here");
}

BEBR_TEST(a_route_is_to_be_renewed_and_ends) {
  Served leaf, root;
  HonestClient client(root.port);
  const auto renewing = route_to("small", {{leaf.port}, {leaf.port}});
  renewing->renew = 0;
  root.front.routes().set("docs", renewing);
  for (int i = 0; i < 2; ++i) CHECK(ok(client.call(kSearch, search_message("docs", 40, 3))), i);
  CHECK(root.front.take_stale() == std::vector<std::string>{"docs"}, "told once");
  const auto over = route_to("small", {{leaf.port}, {leaf.port}});
  over->renew = over->until = now_ns();
  root.front.routes().set("docs", over);
  for (int i = 0; i < 2; ++i) CHECK(client.call(kSearch, search_message("docs", 40, 3)).body == "behind", i);
}

BEBR_TEST(a_second_leaf_answers_for_a_slow_one) {
  Served slow, fast, root;
  slow.front.publish("x", "m1", slow.slow);
  fast.front.publish("x", "m1", std::make_shared<FakeCollection>(100));
  root.front.routes().delay = 20 * kMs;
  root.front.routes().set("docs", route_to("x", {{slow.port, fast.port}, {fast.port}}));
  HonestClient client(root.port);
  CHECK(ids_of(client.call(kSearch, search_message("docs", 5, 2))) == (Ids{5, 5}), "found");
  CHECK(root.front.counts().second_tries == 1 && root.front.counts().answered == 1, "by the second one");
  CHECK(soon([&] { return slow.slow->stopped == 1; }), "the slow one need not go on");
  std::vector<LeafCall> calls;
  CHECK(soon([&] {
          for (const LeafCall& call : root.front.take_asked()) calls.push_back(call);
          return calls.size() == 3;
        }),
        "all are told of");
  for (const LeafCall& call : calls)
    CHECK(call.answered && (call.took > 15 * kMs || call.leaf->name == leaf_at(fast.port)->name), call.took);
}

BEBR_TEST(searches_that_are_alike_wait_for_the_answer_to_those_before_and_go_out_together) {
  Served root;
  Heard leaf;
  root.front.routes().set("docs", route_to("small", {{leaf.port}}));
  HonestClient client(root.port);
  const auto heard = [&](size_t messages) {
    return soon([&] {
      client.turn(1);
      return leaf.messages() >= messages;
    });
  };
  const int32_t first = client.begin(kSearch, search_message("docs", 40, 3));
  CHECK(heard(1), "one that is alone waits for none");
  for (int i = 0; i < 2; ++i) client.begin(kSearch, search_message("docs", 41, 3));
  client.begin(kSearch, search_message("docs", 42, 2));
  CHECK(heard(2) && leaf.messages() == 2, "one for more rows does not, others do: " << leaf.messages());
  client.begin(kSearch, with(search_message("docs", 43, 3), allowed({7})));
  CHECK(heard(3) && leaf.messages() == 3, "nor does one of some rows: " << leaf.messages());
  client.cancel(first);
  client.ping();
  CHECK(heard(5), leaf.messages());
}

BEBR_TEST(leaves_that_are_alike_take_turns) {
  Served one, other, root;
  const auto route = route_to("small", {{one.port, other.port}, {one.port, other.port}});
  for (Shard& shard : route->shards) shard.alike = 2;
  root.front.routes().set("docs", route);
  HonestClient client(root.port);
  for (int i = 0; i < 4; ++i) CHECK(ok(client.call(kSearch, search_message("docs", 40, 3))), i);
  CHECK(one.front.counts().answered == 4 && other.front.counts().answered == 4, one.front.counts().answered);
}

BEBR_TEST(deadlines_and_cancellations_are_passed_on) {
  Served leaf, root;
  root.front.routes().set("docs", route_to("slow", {{leaf.port}, {leaf.port}}));
  HonestClient client(root.port);
  const Reply late = client.call(kSearch, search_message("docs", 40, 3), {{"grpc-timeout", "50m"}});
  CHECK(late.headers.at("grpc-status") == "4", late.headers.at("grpc-status"));
  CHECK(soon([&] { return leaf.front.counts().cancelled == 2; }), "the leaf knows of it");
  const uint64_t before = leaf.front.counts().cancelled;
  const int32_t id = client.begin(kSearch, search_message("docs", 40, 3));
  CHECK(soon([&] {
          client.turn(1);
          return leaf.slow->running > 0;
        }),
        "under way");
  client.cancel(id);
  client.ping();
  CHECK(soon([&] {
          client.turn(1);
          return leaf.front.counts().cancelled == before + 2;
        }),
        leaf.front.counts().cancelled);
  CHECK(soon([&] { return root.budget->held() == 0; }), root.budget->held());
  CHECK(root.behind.calls == 0, "nothing was forwarded");
}

BEBR_TEST(a_leaf_that_says_nothing_fails_a_search_in_the_end) {
  Served leaf, root;
  const Silent silent;
  const auto route = route_to("small", {{leaf.port}, {silent.port}});
  route->patience = 100 * kMs;
  root.front.routes().set("docs", route);
  root.front.routes().delay = 20 * kMs;
  HonestClient client(root.port);
  Reply reply = client.call(kSearch, search_message("docs", 40, 3));
  CHECK(reply.headers["grpc-status"] == "14", reply.headers["grpc-status"]);
  CHECK(reply.headers["grpc-message"] ==
            "shard small: none of 127.0.0.1:" + std::to_string(silent.port) + " answered within 0.1 s",
        reply.headers["grpc-message"]);
  reply = client.call(kSearch, with(search_message("docs", 40, 3), "\xc8\x01\x01"));
  CHECK(reply.body == "behind", "where a part will do, the server behind has it");
}

BEBR_TEST(a_leaf_that_ends_loses_no_search) {
  Served root;
  HonestClient client(root.port);
  auto leaf = std::make_unique<Served>();
  root.front.routes().set("docs", route_to("slow", {{leaf->port}, {leaf->port}}));
  const int32_t id = client.begin(kSearch, search_message("docs", 40, 3));
  CHECK(soon([&] {
          client.turn(1);
          return leaf->slow->running > 0;
        }),
        "under way");
  leaf->front.stop();
  CHECK(client.wait(id).body == "behind", "asked elsewhere");
  CHECK(client.call(kSearch, search_message("docs", 40, 3)).body == "behind", "and later ones");
}

}  // namespace

void fuzz_scatter(size_t calls, uint32_t seed) {
  Served leaf, other, root;
  {
    Changed changed(leaf.port, seed);
    const auto route = route_to("small", {{other.port}, {changed.port}});
    route->patience = 30 * kMs;
    root.front.routes().set("docs", route);
    HonestClient client(root.port);
    for (size_t i = 0; i < calls; ++i) {
      std::string message = search_message("docs", 40, 1 + i % 20);
      if (i % 3 == 0) message = with(message, "\x40\x01");
      const Reply reply = client.call(kSearch, message);
      CHECK(!reply.closed, "call " << i);
    }
  }
  root.front.routes().set("docs", route_to("small", {{other.port}, {leaf.port}}));
  HonestClient client(root.port);
  CHECK(ids_of(client.call(kSearch, search_message("docs", 40, 2))) == (Ids{40, 40}), "answered after all that");
  CHECK(soon([&] { return root.budget->held() == 0; }), root.budget->held());
}

namespace {

BEBR_TEST(changed_answers_of_leaves_end_a_search_and_nothing_else) { fuzz_scatter(60, 1); }

}  // namespace
}  // namespace bebr::test
