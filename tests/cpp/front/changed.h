// A connection on which somebody changes what a server says.
#pragma once

#include <cstdint>
#include <string>
#include <thread>

#include "../check.h"

namespace bebr::test {

// Hands connections on to a front, and changes what comes back.
class Changed {
 public:
  Changed(uint16_t front, uint32_t seed);
  ~Changed();
  uint16_t port = 0;

 private:
  void serve(int client);
  void change(std::string& bytes);

  const uint16_t front_;
  Random random_;
  int listener_ = -1;
  std::thread thread_;
};

}  // namespace bebr::test
