// Keys that the front looks at itself: who gets in, and what the others are told.
#include "server/keys.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <utility>
#include <vector>

#include "../check.h"
#include "keyed.h"
#include "served.h"
#include "server/sha256.h"

namespace bebr::test {
namespace {

std::string hex(const Sha256& digest) {
  std::string out;
  for (const uint8_t byte : digest) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", byte);
    out += two;
  }
  return out;
}

struct KeyedFront {
  KeyedFront() { served.front.set_open(false); }
  void publish() { served.front.set_keys(keys.table()); }
  Reply search(const std::string& collection, std::map<std::string, std::string> extra) {
    return HonestClient(served.port).call(kSearch, search_message(collection, 40, 10), std::move(extra));
  }
  KeyFile keys;
  Served served;
};

BEBR_TEST(sha256_of_the_examples_of_the_standard) {
  CHECK(hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "nothing");
  CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "one block");
  CHECK(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "two blocks");
  CHECK(hex(sha256(std::string(1'000'000, 'a'))) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        "many");
}

BEBR_TEST(keys_let_in_and_keep_out) {
  KeyedFront keyed;
  CHECK(keyed.search("small", {}).body == "behind", "no table yet");
  keyed.publish();
  const auto status = [](Reply reply) { return reply.headers["grpc-status"] + " " + reply.headers["grpc-message"]; };
  CHECK(first_id(keyed.search("small", {{"authorization", "Bearer all"}})) == 40, "a key for all");
  CHECK(first_id(keyed.search("small", {{"authorization", "Bearer some"}})) == 40, "a key for this one");
  CHECK(status(keyed.search("large", {{"authorization", "Bearer some"}})) == "7 not granted 'large', no", "another");
  CHECK(status(keyed.search("not there", {{"authorization", "Bearer some"}})) == "7 not granted 'not there', no",
        "it does not learn which there are");
  CHECK(status(keyed.search("small", {})) == "16 no key", "none");
  CHECK(status(keyed.search("small", {{"authorization", "Bearer allx"}})) == "16 wrong key", "a wrong one");
  CHECK(status(HonestClient(keyed.served.port).call("/bebr.v1.Collections/Drop", "")) == "16 no key", "any method");
  CHECK(keyed.served.front.counts().denied == 5, keyed.served.front.counts().denied);
  const int before = keyed.served.behind.calls;
  for (const char* value : {"Basic all", "bearer all", "Bearer  all", "Bearer a\tl"})
    CHECK(keyed.search("small", {{"authorization", value}}).body == "behind", value);
  CHECK(keyed.search("a'b", {{"authorization", "Bearer some"}}).body == "behind",
        "a name that Python writes otherwise");
  CHECK(HonestClient(keyed.served.port).call("/echo", "x").body == "x", "what is no call of ours");
  CHECK(keyed.served.behind.calls == before + 6, "are for the server behind");
}

BEBR_TEST(a_file_of_keys_that_has_changed_is_for_the_server_behind) {
  KeyedFront keyed;
  keyed.publish();
  const std::map<std::string, std::string> key = {{"authorization", "Bearer all"}};
  CHECK(first_id(keyed.search("small", key)) == 40, "as it was read");
  std::ofstream(keyed.keys.path()) << "changed";
  CHECK(keyed.search("small", key).body == "behind" && keyed.search("small", {}).body == "behind", "changed");
  keyed.publish();
  CHECK(first_id(keyed.search("small", key)) == 40, "read again");
  unlink(keyed.keys.path().c_str());
  CHECK(keyed.search("small", key).body == "behind", "gone");
}

BEBR_TEST(calls_that_come_together_have_each_their_key) {
  KeyedFront keyed;
  keyed.publish();
  HonestClient client(keyed.served.port);
  const auto begin = [&](const char* collection, const char* token) {
    return client.begin(kSearch, search_message(collection, 40, 1), {{"authorization", token}});
  };
  const auto all = [&] {
    static constexpr std::pair<const char*, const char*> kinds[] = {{"small", "Bearer all"},
                                                                    {"small", "Bearer alk"},
                                                                    {"large", "Bearer some"},
                                                                    {"small", "Bearer some"},
                                                                    {"large", "Bearer all"}};
    std::vector<int32_t> calls;
    for (int i = 0; i < 10; ++i)
      for (const auto& [collection, token] : kinds) calls.push_back(begin(collection, token));
    std::vector<Reply> replies;
    for (const int32_t call : calls) replies.push_back(client.wait(call));
    return replies;
  };
  const std::vector<Reply> replies = all();
  for (size_t i = 0; i < replies.size(); ++i) {
    const char* const wanted[] = {"0", "16", "7", "0", "0"};
    CHECK(replies[i].headers.at("grpc-status") == wanted[i % 5], i);
  }
  std::ofstream(keyed.keys.path()) << "changed";
  for (const Reply& reply : all()) CHECK(reply.body == "behind", "the file has changed");
}

BEBR_TEST(a_refused_call_is_not_received) {
  KeyedFront keyed;
  keyed.publish();
  HonestClient client(keyed.served.port);
  const Reply reply = client.call(kSearch, std::string(5'000'000, 'x'));
  CHECK(reply.headers.at("grpc-status") == "16" && !reply.closed, "told at once");
  CHECK(client.call("/echo", "x").body == "x", "the connection goes on");
}

}  // namespace
}  // namespace bebr::test
