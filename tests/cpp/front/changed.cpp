#include "changed.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"

namespace bebr::test {

Changed::Changed(uint16_t front, uint32_t seed) : front_(front), random_(seed) {
  const Listening listening = listen_on_loopback();
  listener_ = listening.socket;
  port = listening.port;
  thread_ = std::thread([this] {
    for (int client = 0; (client = accept(listener_, nullptr, nullptr)) >= 0;) serve(client);
  });
}

Changed::~Changed() {
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  close(listener_);
}

void Changed::serve(int client) {
  const int front = connect_to(front_);
  pollfd both[2] = {{client, POLLIN, 0}, {front, POLLIN, 0}};
  char bytes[4096];
  for (bool open = front >= 0; open && poll(both, 2, 50) > 0;) {
    for (int i = 0; i < 2 && open; ++i) {
      if (both[i].revents == 0) continue;
      const ssize_t got = recv(both[i].fd, bytes, sizeof bytes, 0);
      std::string some(bytes, static_cast<size_t>(got > 0 ? got : 0));
      if (i == 1) change(some);
      open = got > 0 && send_all(both[1 - i].fd, some);
    }
  }
  close(client);
  if (front >= 0) close(front);
}

void Changed::change(std::string& bytes) {
  for (uint32_t n = below(random_, 4); n > 0 && !bytes.empty(); --n) {
    const size_t at = below(random_, static_cast<uint32_t>(bytes.size()));
    switch (below(random_, 4)) {
      case 0:
        bytes[at] = static_cast<char>(random_());
        break;
      case 1:
        bytes.erase(at, 1 + below(random_, 9));
        break;
      case 2:
        bytes.insert(at, bytes.substr(below(random_, static_cast<uint32_t>(bytes.size())), 20));
        break;
      default:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(random_, 8));
    }
  }
}

}  // namespace bebr::test
