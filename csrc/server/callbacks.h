// What nghttp2 calls of a connection.
#pragma once

#include <nghttp2/nghttp2.h>

#include "server/connection.h"

namespace bebr {

struct Callbacks {
  nghttp2_session_callbacks* all = nullptr;
  nghttp2_option* options = nullptr;

  static const Callbacks& shared();
  // Of every data_provider.
  static ssize_t read(nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags, nghttp2_data_source*,
                      void* user);

 private:
  Callbacks();
  static Connection& of(void* user) { return *static_cast<Connection*>(user); }
};

}  // namespace bebr
