// Listings that a front keeps, and who looks at them again and again.
#include "client/lookout.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../check.h"
#include "changed.h"
#include "served.h"
#include "sockets.h"

namespace bebr::test {
namespace {

constexpr const char* kList = "/bebr.v1.Collections/List";

std::string framed(std::string_view text) {
  std::string made = std::string(kFrameHead, '\0').append(text);
  put_length(made);
  return made;
}

Lookout lookout_of(std::vector<uint16_t> ports, double every, double patience) {
  std::vector<std::shared_ptr<Caller>> callers;
  for (const uint16_t port : ports)
    callers.push_back(
        std::make_shared<Caller>("127.0.0.1", std::to_string(port), "localhost", Caller::Headers{}, size_t{2}));
  return Lookout(std::move(callers), kList, "all", every, patience);
}

BEBR_TEST(a_listing_is_kept_until_anything_changes) {
  Served served;
  HonestClient client(served.port);
  Shelf& shelf = served.front.shelf();
  const std::function<void()> changes[] = {
      [&] { served.front.publish("more", "m1", std::make_shared<FakeCollection>(5)); },
      [&] { served.front.publish("more", "", nullptr); },
      [&] { served.front.set_aliases({{"a", "small"}}); },
      [&] { shelf.forget("more"); },
  };
  for (const std::function<void()>& change : changes) {
    CHECK(client.call(kList, framed("all")).body == framed("all"), "nothing is kept");
    const uint64_t state = shelf.state();
    shelf.keep_listing(state, "all", framed("these"));
    CHECK(client.call(kList, framed("all")).body == framed("these"), "kept");
    CHECK(client.call(kList, framed("some")).body == framed("some"), "another request");
    change();
    CHECK(shelf.state() != state, "another state");
    shelf.keep_listing(state, "all", framed("old"));
  }
  CHECK(client.call(kList, framed("all")).body == framed("all"), "of before a change");
  shelf.keep_listing(shelf.state(), "all", framed(std::string(100'000, 'x')));
  CHECK(client.call(kList, framed("all")).body == framed("all"), "too large");
  CHECK(served.front.counts().listed == 4, served.front.counts().listed);
}

BEBR_TEST(only_what_changed_is_news) {
  Served one, two;
  const auto keep = [](Served& at, std::string_view text) {
    at.front.shelf().keep_listing(at.front.shelf().state(), "all", framed(text));
  };
  keep(one, "1");
  keep(two, "2");
  Lookout lookout = lookout_of({one.port, two.port}, .02, 20.0);
  std::vector<Lookout::News> news = lookout.news();
  CHECK(news.size() == 2 && news[0].answer == "1" && news[1].answer == "2", news.size());
  std::thread later([&] {
    CHECK(soon([&] { return lookout.answered(0) > news[0].asked && lookout.answered(1) > news[1].asked; }),
          "as before");
    two.front.set_aliases({});
    keep(two, "3");
  });
  std::vector<Lookout::News> next = lookout.news();
  later.join();
  while (next.size() == 1 && next[0].answer == "all") next = lookout.news();  // asked between the two: an echo
  CHECK(next.size() == 1 && next[0].which == 1 && next[0].answer == "3", next.size());
  CHECK(lookout.answered(0) > news[0].asked, "the other one answers as before");
  lookout.forget(0);
  next = lookout.news();
  CHECK(next.size() == 1 && next[0].which == 0 && next[0].answer == "1", "said again");
}

BEBR_TEST(one_that_does_not_answer_is_news_and_holds_nobody_up_for_long) {
  Served served;
  served.front.shelf().keep_listing(served.front.shelf().state(), "all", framed("1"));
  const int silent = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  CHECK(bind(silent, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(silent, 8) == 0, "a silent one");
  getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size);
  Lookout lookout = lookout_of({ntohs(address.sin_port), served.port}, .02, .3);
  const auto begun = std::chrono::steady_clock::now();
  const std::vector<Lookout::News> news = lookout.news();
  CHECK(news.size() == 2 && !news[0].answer && news[0].late && news[1].answer == "1", news.size());
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10), "not for long");
  close(silent);
  const std::vector<Lookout::News> next = lookout.news();
  CHECK(next.size() == 1 && next[0].which == 0 && !next[0].answer && !next[0].late, "gone");
  std::thread stopping([&] {
    sleep_ms(50);
    lookout.stop();
  });
  while (!lookout.news().empty()) {
  }
  stopping.join();
  CHECK(lookout.news().empty(), "for good");
}

}  // namespace
}  // namespace bebr::test
