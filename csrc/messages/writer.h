// Writes protobuf's wire format: fields are appended to a message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "messages/reader.h"

namespace bebr {

inline void put_varint(std::string& out, uint64_t value) {
  for (; value > 127; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

inline size_t varint_size(uint64_t value) noexcept {
  size_t bytes = 1;
  for (; value > 127; value >>= 7) ++bytes;
  return bytes;
}

// Left out where it is 0, as protobuf does.
inline void put_number(std::string& out, uint64_t field, uint64_t value) {
  if (value == 0) return;
  put_varint(out, varint_field(field));
  put_varint(out, value);
}

inline void put_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  put_varint(out, bytes_field(field));
  put_varint(out, bytes.size());
  out += bytes;
}

}  // namespace bebr
