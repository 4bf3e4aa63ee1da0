// What the peers of a front share: headers, sockets, patience.
#pragma once

#include <nghttp2/nghttp2.h>

#include <string>

namespace bebr::test {

nghttp2_nv entry(const std::string& name, const std::string& value);
void sleep_ms(int ms);
// False where the other end is gone.
bool send_all(int socket, const std::string& bytes);
int connect_to(uint16_t port);  // -1 where that failed

}  // namespace bebr::test
