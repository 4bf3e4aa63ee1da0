// Searches of other shapes than a vector alone.
#include <algorithm>

#include "../check.h"
#include "served.h"

namespace bebr::test {
namespace {

BEBR_TEST(allowed_ids_are_handed_on) {
  FrontOptions options;
  options.ids = 3;
  Served served(options);
  HonestClient client(served.port);
  const std::string search = search_message("small", 40, 2);
  CHECK(first_id(client.call(kSearch, with(search, allowed({7, 5})))) == 7, "of these");
  CHECK(ok(client.call(kSearch, with(search, allowed({})))), "of none");
  CHECK(served.front.counts().answered == 2, "answered here");
  CHECK(client.call(kSearch, with(search, allowed({7, -1}))).body == "behind", "a negative one");
  CHECK(client.call(kSearch, with(search, std::string("\x3a\x01x", 3))).body == "behind", "half a one");
  CHECK(client.call(kSearch, with(search, allowed({1, 2, 3, 4}))).body == "behind", "too many");
  served.front.publish("keyed", "m1", std::make_shared<FakeCollection>(5, 0, true));
  const std::string keyed = search_message("keyed", 40, 1);
  CHECK(first_id(client.call(kSearch, with(keyed, allowed({9})))) == 9, "a number below the places of keys");
  CHECK(client.call(kSearch, with(keyed, allowed({int64_t{1} << 62}))).body == "behind", "a place");
}

BEBR_TEST(searches_share_a_kernel_call_where_they_allow_the_same) {
  Served served;
  served.front.publish("slow", "m1", std::make_shared<FakeCollection>(1'000'000, 50));
  HonestClient client(served.port);
  std::vector<int32_t> calls;
  for (int i = 0; i < 40; ++i)
    calls.push_back(client.begin(kSearch, with(search_message("slow", 0, 1), allowed({i / 20, 9}))));
  for (int i = 0; i < 40; ++i) CHECK(first_id(client.wait(calls[static_cast<size_t>(i)])) == i / 20, i);
  const BatchingCounts& counts = served.front.shelf().counts("slow")->batching;
  CHECK(counts.queries == 40 && counts.batches >= 2 && counts.batches < 10, counts.batches);
}

BEBR_TEST(rows_are_searched_by_their_ids) {
  Served served;
  HonestClient client(served.port);
  CHECK(first_id(client.call(kSearch, rows_message("small", {7, 5}, 2))) == 8, "the one after it");
  CHECK(first_id(client.call(kSearch, with(rows_message("small", {7}, 2), allowed({3})))) == 3, "that is allowed");
  CHECK(served.front.counts().answered == 2, "answered here");
  for (const std::vector<int64_t>& ids : {std::vector<int64_t>{}, {-1}, {7, 13}})
    CHECK(client.call(kSearch, rows_message("small", ids, 2)).body == "behind", ids.size());
  CHECK(client.call(kSearch, with(rows_message("small", {7}, 2), search_message("small", 1, 1).substr(5))).body ==
            "behind",
        "queries, too");
}

BEBR_TEST(a_row_that_is_missing_is_no_others_fault) {
  Served served;
  served.front.publish("slow", "m1", std::make_shared<FakeCollection>(1'000'000, 10));
  HonestClient client(served.port);
  std::vector<int32_t> calls;
  for (int64_t i = 0; i < 20; ++i) calls.push_back(client.begin(kSearch, rows_message("slow", {i}, 1)));
  calls.push_back(client.begin(kSearch, search_message("slow", 40, 1)));
  for (int64_t i = 0; i < 20; ++i) {
    const Reply reply = client.wait(calls[static_cast<size_t>(i)]);
    CHECK(i == 13 ? reply.body == "behind" : first_id(reply) == i + 1, i);
  }
  CHECK(first_id(client.wait(calls.back())) == 40, "a vector beside them");
}

BEBR_TEST(hits_come_in_groups) {
  Served served;
  const auto all = std::make_shared<FakeCollection>(100);
  served.front.publish("docs", "m1", all);
  for (const std::string& key : {group_key({}, "n"), group_key("{\"a\"}", "n")})
    served.front.publish_filter("docs", *all, key, all);
  HonestClient client(served.port);
  const auto has = [](const Reply& reply, const char* text) { return reply.body.find(text) != std::string::npos; };
  const std::string search = search_message("docs", 40, 2), filter = "\x52\x05{\"a\"}";
  const Reply first = client.call(kSearch, with(search, grouped("n", 3)));
  CHECK(first_id(first) == 40 && has(first, "\"g0\"") && has(first, "\"g1\"") && !has(first, "g2"), "two groups");
  const Reply after = client.call(kSearch, with(search, grouped("n", 3) + std::string("\x60\x01")));
  CHECK(first_id(after) == 43 && !has(after, "g0") && has(after, "\"g2\""), "after the first");
  CHECK(first_id(client.call(kSearch, with(rows_message("docs", {7}, 2), grouped("n", 1)))) == 8, "by a row");
  CHECK(first_id(client.call(kSearch, with(search, filter + grouped("n", 1)))) == 40, "beside a filter");
  CHECK(served.front.counts().answered == 4, "answered here");
  const std::vector<Finished> finished = served.front.take_finished();
  CHECK(!finished[0].filter && finished[3].filter == "{\"a\"}", "the filter is told of, and nothing else");
  const std::string forwarded[] = {grouped("m", 1),                               // by what was not published
                                   grouped("n", 2).substr(4),                     // a size alone
                                   grouped("n", 20'000),                          // too large
                                   std::string("\x52\x00", 2) + grouped("n", 1),  // an empty filter is none
                                   filter,                                        // in no groups
                                   std::string("\x52\x02\x00n", 4),               // the key itself
                                   grouped("n", 1) + grouped("n", 1)};
  for (const std::string& fields : forwarded)
    CHECK(client.call(kSearch, with(search, fields)).body == "behind", fields);
  CHECK(client.call(kSearch, with(rows_message("docs", {13}, 2), grouped("n", 1))).body == "behind", "no such row");
}

BEBR_TEST(calls_of_many_sizes_leave_nothing_to_those_that_follow) {
  Served served;
  HonestClient client(served.port);
  for (int round = 0; round < 3; ++round) {
    std::vector<int32_t> calls;
    for (int i = 0; i < 200; ++i) {
      const std::string body = search_message("small", static_cast<float>(i), 2 + static_cast<uint32_t>(i % 10));
      calls.push_back(i % 10 == 3 ? client.begin("/echo", "echo " + std::to_string(i)) : client.begin(kSearch, body));
    }
    for (int i = 0; i < 200; ++i) {
      const Reply reply = client.wait(calls[static_cast<size_t>(i)]);
      CHECK(i % 10 == 3 ? reply.body == "echo " + std::to_string(i) : first_id(reply) == i, i);
    }
  }
}

}  // namespace
}  // namespace bebr::test
