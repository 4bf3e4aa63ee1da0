// What the peers of a front share: headers, sockets, patience.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string>

namespace bebr::test {

nghttp2_nv entry(const std::string& name, const std::string& value);
void sleep_ms(int ms);
// False where the other end is gone.
bool send_all(int socket, const std::string& bytes);
int connect_to(uint16_t port);  // -1 where that failed

// A socket that listens on loopback, at a free port.
struct Listening {
  int socket;
  uint16_t port;
};
Listening listen_on_loopback();

}  // namespace bebr::test
