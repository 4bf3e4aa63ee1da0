#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../check.h"
#include "keyed.h"
#include "served.h"
#include "sockets.h"
#include "tls.h"

namespace bebr::test {
namespace {

size_t descriptors() {
  size_t n = 0;
  DIR* const folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++n;
  closedir(folder);
  return n;
}

}  // namespace

namespace {

// One that asks for keys, and where it can for TLS.
struct Guarded {
  explicit Guarded(FrontOptions options = {}) : served(std::move(options)) {
    served.front.set_open(false);
    served.front.set_keys(keys.table());
  }
  KeyFile keys;
  Served served;
};

#ifdef BEBR_TLS
FrontOptions with_tls(const Certificate& made) {
  FrontOptions options;
  options.tls = {made.certificate, made.key, ""};
  return options;
}

// What a client under TLS may do to a front, beside what one without does.
void talk_tls(int socket, const std::vector<std::string>& pieces, std::mt19937& random) {
  if (random() % 4 == 0) {  // the beginning of a handshake, changed or not
    std::string hello = TlsClient::hello();
    for (size_t i = random() % 3; i > 0; --i) hello[random() % hello.size()] = static_cast<char>(random());
    if (random() % 2 == 0) hello.resize(random() % hello.size());
    send(socket, hello.data(), hello.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (random() % 2 == 0) return;
  }
  TlsClient client(socket);
  if (random() % 8 == 0 || !client.shake_hands()) return;
  std::string joined;
  for (const std::string& piece : pieces) {
    joined += piece;
    if (random() % 3 == 0) continue;
    if (!client.send(joined)) return;
    joined.clear();
    if (random() % 40 == 0) send(socket, "\x17\x03\x03", 1 + random() % 3, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  client.send(joined);
  pollfd ready{socket, POLLIN, 0};
  while (random() % 8 != 0 && poll(&ready, 1, static_cast<int>(random() % 4)) > 0 && !client.receive().empty()) {
  }
}

// What came first in answer.
std::string send_by_tls(int socket, const std::vector<std::string>& pieces) {
  TlsClient client(socket);
  CHECK(client.shake_hands(), "hands are shaken");
  for (const std::string& piece : pieces) CHECK(client.send(piece), "sent");
  return client.receive();
}
#endif

void talk(int socket, const std::vector<std::string>& pieces, std::mt19937& random) {
  const bool deaf = random() % 8 == 0;
  std::string joined;
  for (const std::string& piece : pieces) {
    joined += piece;
    if (random() % 3 == 0) continue;
    if (send(socket, joined.data(), joined.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    joined.clear();
  }
  send(socket, joined.data(), joined.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  char buffer[16384];
  const int patience = static_cast<int>(random() % 4 == 0 ? 30 : random() % 4);
  pollfd ready{socket, POLLIN, 0};
  while (!deaf && poll(&ready, 1, patience) > 0 && recv(socket, buffer, sizeof buffer, 0) > 0) {
  }
}

void publish(Served& served) {
  served.front.publish("slow", "m1", std::make_shared<FakeCollection>(1'000'000, 5));
  const auto small = std::make_shared<FakeCollection>(100);
  served.front.publish("small", "m1", small);
  served.front.publish("keyed", "m1", std::make_shared<FakeCollection>(5, 0, true));
  served.front.publish_filter("small", *small, "{\"a\"}", std::make_shared<FakeCollection>(7));
  served.front.publish_filter("small", *small, group_key({}, "n"), std::make_shared<FakeCollection>(7));
  Shelf& shelf = served.front.shelf();
  shelf.keep_listing(shelf.state(), "", std::string(5, '\0') + std::string(20'000, 'x'));
}

}  // namespace

// Connections of which every second one has changed bytes, to a front that is open, one that asks for keys, and one
// that speaks TLS; then all that was held is given back, and honest clients are served as before.
void fuzz(size_t connections, uint32_t seed) {
  Served open;
  Guarded guarded;
  std::vector<Served*> all = {&open, &guarded.served};
#ifdef BEBR_TLS
  const Certificate certificate;
  Guarded secret(with_tls(certificate));
  all.push_back(&secret.served);
#endif
  for (Served* served : all) publish(*served);
  {
    HonestClient(open.port).call("/empty", "");
    HonestClient(guarded.served.port).call("/empty", "");
  }
  soon([&] { return descriptors() < 60; });
  const size_t before = descriptors();
  std::atomic<size_t> left{connections};
  std::vector<std::thread> clients;
  for (uint32_t t = 0; t < 4; ++t)
    clients.emplace_back([&, t] {
      std::mt19937 random(seed * 4 + t);
      while (left.fetch_sub(1) - 1 < connections) {
        const std::vector<std::string> pieces = random_connection(random);
        const size_t which = random() % all.size();
        const int socket = connect_to(all[which]->port);
        if (socket < 0) continue;
#ifdef BEBR_TLS
        if (which == 2 && random() % 8 != 0)
          talk_tls(socket, pieces, random);
        else
#endif
          talk(socket, pieces, random);
        if (random() % 2 == 0) {  // RST in place of FIN
          const linger at_once{1, 0};
          setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        close(socket);
      }
    });
  for (std::thread& client : clients) client.join();
  for (Served* served : {&open, &guarded.served}) {
    HonestClient client(served->port);
    const std::map<std::string, std::string> key = {{"authorization", "Bearer all"}};
    CHECK(first_id(client.call(kSearch, search_message("small", 40, 10), key)) == 40, "answered after all that");
    CHECK(client.call("/bebr.v1.Collections/List", std::string(5, '\0'), key).body.size() == 20'005, "listed");
    CHECK(client.call("/echo", "again").body == "again", "forwarded after all that");
  }
#ifdef BEBR_TLS
  const size_t answered = secret.served.front.counts().answered;
  const int socket = connect_to(secret.served.port);
  std::mt19937 random(seed);
  send_by_tls(socket, honest_connection(random, "Bearer all"));
  CHECK(soon([&] { return secret.served.front.counts().answered > answered; }), "answered under TLS after all that");
  close(socket);
#endif
  for (Served* served : all) {
    CHECK(soon([&] { return served->budget->held() == 0; }), served->budget->held());
  }
  CHECK(soon([&] { return descriptors() <= before + 8; }), descriptors() << " descriptors, before " << before);
}

BEBR_TEST(mutated_connections) { fuzz(400, 1); }

#ifdef BEBR_TLS
BEBR_TEST(a_client_under_tls_is_answered) {
  const Certificate certificate;
  Served served(with_tls(certificate));
  const int socket = connect_to(served.port);
  {
    std::mt19937 random(5);
    CHECK(!send_by_tls(socket, honest_connection(random, "Basic")).empty(), "something came");
    CHECK(soon([&] { return served.front.counts().answered == 1; }), "answered");
  }
  close(socket);
}
#endif

}  // namespace bebr::test
