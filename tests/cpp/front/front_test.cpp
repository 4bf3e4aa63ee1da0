// The front between clients and a server behind: what is answered where, deadlines, cancellation, slow readers, limits,
// and how it stops.
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "../check.h"
#include "base/error.h"
#include "served.h"
#include "sockets.h"

namespace bebr::test {
namespace {

BEBR_TEST(searches_are_answered_and_all_else_is_forwarded) {
  Served served;
  HonestClient client(served.port);
  for (const char* name : {"small", "large"}) {
    const Reply reply = client.call(kSearch, search_message(name, 40, 10));
    CHECK(ok(reply) && first_id(reply) == 40, name);
  }
  CHECK(served.front.counts().answered == 2 && served.behind.calls == 0, "answered here");
  const std::string body = search_message("nothing", 1, 10);
  CHECK(client.call(kSearch, body).body == "behind", "a collection that is not published");
  CHECK(client.call("/echo", body).body == body, "another method");
  CHECK(ok(client.call("/empty", body)), "an empty reply");
  CHECK(client.call("/big", body).body.size() == 300'000, "a reply larger than a window");
  const std::string large(5'000'000, 'y');
  const int ms = 60'000;  // under ThreadSanitizer, on a machine that others use
  CHECK(client.wait(client.begin("/echo", large), ms).body == large, "a request larger than a window");
  CHECK(client.call("/reset", body).reset == NGHTTP2_ENHANCE_YOUR_CALM, "the code of a reset");
  CHECK(client.call("/gone", body).headers["grpc-status"] == "14", "the server behind goes away");
  CHECK(client.call("/echo", body).body == body, "and comes back");
  served.front.publish("small", "", nullptr);
  CHECK(client.call(kSearch, search_message("small", 40, 10)).body == "behind", "withdrawn");
  served.front.set_open(false);
  CHECK(client.call(kSearch, search_message("large", 40, 10)).body == "behind", "keys are for the server behind");
}

BEBR_TEST(an_alias_finds_its_collection) {
  Served served;
  HonestClient client(served.port);
  served.front.set_aliases({{"now", "small"}, {"large", "small"}, {"gone", "nothing"}});
  CHECK(first_id(client.call(kSearch, search_message("now", 40, 10))) == 40, "by an alias");
  served.front.publish("small", "", nullptr);
  CHECK(first_id(client.call(kSearch, search_message("large", 40, 10))) == 40, "by its own name");
  for (const char* name : {"now", "gone"})
    CHECK(client.call(kSearch, search_message(name, 40, 10)).body == "behind", name);
  std::vector<std::string> names;
  for (const Finished& one : served.front.take_finished()) names.push_back(one.collection);
  CHECK((names == std::vector<std::string>{"now", "large"}), "told of by the name that was asked for");
}

BEBR_TEST(calls_are_told_of_that_are_to_have_a_span) {
  const std::string head = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
  for (const std::string& none : {std::string(), head, head + "1", head + "0x", "ff" + head.substr(2) + "01",
                                  head + "01-more", "00-" + std::string(32, '0') + head.substr(35) + "01"})
    CHECK(!recorded(none), none);
  CHECK(recorded(head + "01") == true && recorded(head + "02") == false, "flags");
  CHECK(recorded("01" + head.substr(2) + "01-more") == true, "of a version to come");
  Served served([](Front& front) {
    front.record(0);
    front.set_sampling({0, true, false});
  });
  HonestClient client(served.port);
  for (const std::string flags : {"01", "00"})
    client.call(kSearch, search_message("small", 40, 10), {{"traceparent", head + flags}, {"tracestate", "a=b"}});
  client.call(kSearch, search_message("small", 40, 10));
  const std::vector<Finished> told = served.front.take_finished();
  CHECK(told.size() == 1 && told.front().traced && told.front().traceparent == head + "01", told.size());
  CHECK(told.front().tracestate == "a=b" && told.front().ended > told.front().elapsed, "what its span needs");
  CHECK(served.behind.calls == 0, "answered here");
  Served every([](Front& front) { front.set_sampling({1, true, true}); });
  HonestClient wild(every.port);
  wild.call(kSearch, search_message("small", 40, 10), {{"traceparent", "\xff"}, {"tracestate", "a=b"}});
  wild.call(kSearch, search_message("small", 40, 10), {{"traceparent", head + "01"}, {"tracestate", "a=\xff"}});
  const std::vector<Finished> odd = every.front.take_finished();
  CHECK(odd.size() == 2 && odd[0].traceparent.empty() && odd[0].tracestate.empty(), "a trace that is none");
  CHECK(odd.size() == 2 && !odd[1].traceparent.empty() && odd[1].tracestate.empty(), "a state that is no text");
  Sampling half{.5, false, false};
  size_t chosen = 0;
  for (int i = 0; i < 1000; ++i) chosen += half.chooses("") ? 1 : 0;
  CHECK(chosen > 400 && chosen < 600 && !half.chooses(head + "01"), chosen);
}

BEBR_TEST(unknown_fields_are_forwarded) {
  Served served;
  HonestClient client(served.port);
  for (const std::string& more :
       {std::string("\xa0\x06\x01", 3), std::string("\x52\x02{}", 4), std::string("\x82\x01\x00", 3),
        std::string("\x7a\x00", 2), std::string("\x4a\x02m2", 4)}) {
    std::string message = search_message("small", 40, 10) + more;
    message[4] = static_cast<char>(message.size() - kFrameHead);
    CHECK(client.call(kSearch, message).body == "behind", more.size());
  }
  std::string message = search_message("small", 40, 10) + std::string("\x4a\x02m1", 4);
  message[4] = static_cast<char>(message.size() - kFrameHead);
  CHECK(first_id(client.call(kSearch, message)) == 40, "the collection's own model");
  message = search_message("small", 40, 10);
  message[0] = 1;
  CHECK(client.call(kSearch, message).body == "behind", "compressed");
  CHECK(client.call(kSearch, search_message("small", 40, 10) + search_message("small", 40, 10)).body == "behind",
        "two messages");
}

BEBR_TEST(searches_that_wait_are_joined) {
  Served served;
  served.front.publish("slow", "m1", std::make_shared<FakeCollection>(1'000'000, 50));
  HonestClient client(served.port);
  std::vector<int32_t> calls;
  for (int i = 0; i < 40; ++i) calls.push_back(client.begin(kSearch, search_message("slow", static_cast<float>(i), 3)));
  for (int i = 0; i < 40; ++i) CHECK(first_id(client.wait(calls[static_cast<size_t>(i)])) == i, i);
  const BatchingCounts& counts = served.front.shelf().counts("slow")->batching;
  CHECK(counts.queries == 40 && counts.batches < 10, counts.batches);
}

BEBR_TEST(a_slow_collection_delays_no_other) {
  Served served;
  HonestClient one(served.port), other(served.port);
  const int32_t waiting = one.begin(kSearch, search_message("slow", 7, 3));
  while (served.slow->running == 0) one.turn(5);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(first_id(other.call(kSearch, search_message("large", 9, 3))) == 9, "while another is searched");
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(300), "at once");
  CHECK(first_id(one.wait(waiting)) == 7, "the slow one");
}

BEBR_TEST(deadlines_and_cancellations_stop_a_search) {
  Served served;
  HonestClient client(served.port);
  const Reply late = client.call(kSearch, search_message("slow", 7, 3), {{"grpc-timeout", "50m"}});
  CHECK(late.headers.at("grpc-status") == "4", "deadline");
  CHECK(soon([&] { return served.slow->stopped == 1; }), "the search ended");
  const int32_t call = client.begin(kSearch, search_message("slow", 7, 3));
  while (served.slow->running == 0) client.turn(5);
  client.cancel(call);
  client.turn(20);
  CHECK(soon([&] { return served.slow->stopped == 2; }), "cancelled");
  {
    HonestClient gone(served.port);
    gone.begin(kSearch, search_message("slow", 7, 3));
    while (served.slow->running == 0) gone.turn(5);
  }
  CHECK(soon([&] { return served.slow->stopped == 3; }), "the connection ended");
  CHECK(soon([&] { return served.budget->held() == 0; }), "what was held is given back");
  std::vector<int> codes;
  for (const Finished& one : served.front.take_finished()) codes.push_back(one.code);
  CHECK((codes == std::vector<int>{4, 1, 1}), "told of as what they were");
}

BEBR_TEST(a_client_that_does_not_read_holds_up_nobody_and_little_memory) {
  Served served;
  HonestClient deaf(served.port), other(served.port);
  deaf.call("/empty", search_message("small", 1, 1));
  deaf.reading = false;
  for (int i = 0; i < 60; ++i) deaf.begin("/big", search_message("small", 1, 1));
  for (int i = 0; i < 60; ++i) deaf.begin(kSearch, search_message("small", 1, 20'000));
  for (int i = 0; i < 20; ++i) deaf.turn(5);
  for (int i = 0; i < 50; ++i) CHECK(first_id(other.call(kSearch, search_message("small", 5, 3))) == 5, i);
  CHECK(served.budget->held() < (64u << 20), served.budget->held());
}

BEBR_TEST(without_budget_the_server_behind_is_asked) {
  Served served;
  HonestClient client(served.port);
  CHECK(served.budget->take(64 << 20, 64 << 20), "all of it");
  CHECK(client.call(kSearch, search_message("small", 5, 3)).body == "behind", "it has the words for that");
  served.budget->give_back(64 << 20);
  CHECK(first_id(client.call(kSearch, search_message("small", 5, 3))) == 5, "again");
}

BEBR_TEST(more_connections_than_allowed_are_closed) {
  FrontOptions options;
  options.connections = 3;
  Served served(options);
  HonestClient a(served.port), b(served.port), c(served.port);
  for (HonestClient* one : {&a, &b, &c}) CHECK(ok(one->call("/empty", "")), "allowed");
  const int fourth = connect_to(served.port);
  char byte = 0;
  CHECK(recv(fourth, &byte, 1, 0) <= 0, "closed");
  close(fourth);
  CHECK(served.front.counts().refused == 1, "counted");
}

BEBR_TEST(calls_in_progress_end_and_no_others_begin) {
  Served served;
  HonestClient client(served.port), idle(served.port);
  CHECK(ok(idle.call("/empty", "")), "before");
  const int32_t call = client.begin(kSearch, search_message("slow", 7, 3));
  while (served.slow->running == 0) client.turn(5);
  std::thread draining([&] { CHECK(served.front.drain(10), "all ended"); });
  CHECK(first_id(client.wait(call)) == 7, "the one in progress");
  draining.join();
  while (idle.turn(20)) {
  }
  CHECK(idle.goaway(), "told so");
  CHECK(connect_to(served.port) < 0, "nobody listens");
  Served other;
  HonestClient waiting(other.port);
  waiting.begin(kSearch, search_message("slow", 7, 3));
  while (other.slow->running == 0) waiting.turn(5);
  CHECK(!other.front.drain(0.05), "not within the grace");
  other.front.stop();
  CHECK(other.slow->stopped == 1, "stopped");
}

BEBR_TEST(a_client_that_reads_late_has_its_answers) {
  Served served;
  auto client = std::make_unique<HonestClient>(served.port);
  client->take_all();
  CHECK(ok(client->call("/empty", "")), "before");
  client->reading = false;
  const int32_t call = client->begin("/big", "");
  while (served.behind.calls < 2) client->turn(5);
  std::thread stopping([&] {
    CHECK(served.front.drain(10), "all ended");
    served.front.stop();
  });
  for (int i = 0; i < 10; ++i) {  // what comes now would reset a socket that is closed
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    client->ping();
    client->turn(5);
  }
  client->reading = true;
  const Reply reply = client->wait(call);
  client.reset();  // its end is what the front waits for
  stopping.join();
  CHECK(ok(reply) && reply.body.size() >= 300'000, "whole, not " + std::to_string(reply.body.size()));
}

BEBR_TEST(both_families_of_addresses) {
  ServerBehind behind;
  FrontOptions options;
  options.upstream = behind.path();
  options.host = "localhost";
  Front front(options, std::make_shared<ByteBudget>(64 << 20));
  const uint16_t port = front.start();
  HonestClient client(port);
  CHECK(ok(client.call("/empty", "")), "IPv4");
  options.port = port;
  Front second(options, std::make_shared<ByteBudget>(64 << 20));
  bool refused = false;
  try {
    second.start();
  } catch (const Error& error) {
    refused = error.code() == ErrorCode::Io;
  }
  CHECK(refused, "a port in use is an error, not a second server behind it");
}

}  // namespace

}  // namespace bebr::test
