// Replies with payloads and keys of ids, and their limits.
#include "../check.h"
#include "served.h"

namespace bebr::test {
namespace {

// Fields of a message whose value is a text, in order.
std::vector<std::string> texts_of(std::string_view message, uint64_t field) {
  std::vector<std::string> found;
  for (size_t at = 0; at < message.size();) {
    const auto varint = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<uint8_t>(message[at++]);
        value |= uint64_t{byte & 127u} << shift;
        if (byte < 128) return value;
      }
    };
    const uint64_t tag = varint(), value = varint();
    if ((tag & 7) != 2) continue;
    if (tag >> 3 == field) found.emplace_back(message.substr(at, value));
    at += value;
  }
  return found;
}

std::string with_payloads(const std::string& collection, float first, uint32_t k) {
  std::string message = search_message(collection, first, k) + "\x40\x01";
  message[4] = static_cast<char>(message.size() - kFrameHead);
  return message;
}

BEBR_TEST(replies_have_payloads_and_keys) {
  Served served;
  served.front.publish("keyed", "m1", std::make_shared<FakeCollection>(3, 0, true));
  HonestClient client(served.port);
  const auto part = [](const Reply& reply, uint64_t field) {
    return texts_of(std::string_view(reply.body).substr(kFrameHead), field);
  };
  Reply reply = client.call(kSearch, with_payloads("small", 2, 3));
  CHECK((part(reply, 4) == std::vector<std::string>{"xx", "xxx", "xxxx"}), "payloads");
  CHECK(part(reply, 7).empty(), "no keys");
  reply = client.call(kSearch, search_message("keyed", 0, 5));  // of which two are missing
  CHECK((part(reply, 7) == std::vector<std::string>{"", "k", "kk"}) && part(reply, 4).empty(), "keys");
  reply = client.call(kSearch, with_payloads("keyed", 1, 2));
  CHECK((part(reply, 7) == std::vector<std::string>{"k", "kk"}), "both");
  CHECK((part(reply, 4) == std::vector<std::string>{"x", "xx"}), "both");
  CHECK(served.front.counts().answered == 3 && served.budget->held() == 0, served.budget->held());
}

BEBR_TEST(texts_that_are_damaged_or_too_many_are_for_the_server_behind) {
  FrontOptions options;
  options.reply_bytes = 500'000;
  Served served(options);
  HonestClient client(served.port);
  CHECK(client.call(kSearch, with_payloads("small", 12, 3)).body == "behind", "it has words for a damaged one");
  CHECK(ok(client.call(kSearch, search_message("small", 12, 3))), "which is not read without need");
  const size_t large = client.call(kSearch, with_payloads("small", 499'000, 1)).body.size();
  CHECK(large > 499'000 && large < 500'000, "a reply as large as one may be");
  CHECK(client.call(kSearch, with_payloads("small", 500'000, 1)).body == "behind", "a larger one");
  CHECK(served.budget->take((64 << 20) - 500'000, 64 << 20), "most of it");
  CHECK(client.call(kSearch, with_payloads("small", 499'000, 1)).body == "behind", "no memory for it");
  served.budget->give_back((64 << 20) - 500'000);
  CHECK(soon([&] { return served.budget->held() == 0; }), served.budget->held());
}

}  // namespace
}  // namespace bebr::test
