#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "../check.h"
#include "served.h"
#include "sockets.h"

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

// Connections of which every second one has changed bytes; then all that was held is given back, and honest clients are
// served as before.
void fuzz(size_t connections, uint32_t seed) {
  Served served;
  served.front.publish("slow", "m1", std::make_shared<FakeCollection>(1'000'000, 5));
  {
    HonestClient(served.port).call("/empty", "");
  }
  soon([&] { return descriptors() < 30; });
  const size_t before = descriptors();
  std::atomic<size_t> left{connections};
  std::vector<std::thread> clients;
  for (uint32_t t = 0; t < 4; ++t)
    clients.emplace_back([&, t] {
      std::mt19937 random(seed * 4 + t);
      while (left.fetch_sub(1) - 1 < connections) {
        const std::vector<std::string> pieces = random_connection(random);
        const int socket = connect_to(served.port);
        if (socket < 0) continue;
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
        if (random() % 2 == 0) {  // RST in place of FIN
          const linger at_once{1, 0};
          setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        close(socket);
      }
    });
  for (std::thread& client : clients) client.join();
  HonestClient client(served.port);
  CHECK(first_id(client.call(kSearch, search_message("small", 40, 10))) == 40, "answered after all that");
  CHECK(client.call("/echo", "again").body == "again", "forwarded after all that");
  CHECK(soon([&] { return served.budget->held() == 0; }), served.budget->held());
  CHECK(soon([&] { return descriptors() <= before + 4; }), descriptors() << " descriptors, before " << before);
}

BEBR_TEST(mutated_connections) { fuzz(400, 1); }

}  // namespace bebr::test
