// Protobuf's wire format (protobuf.dev, "Encoding"), for the few messages that are read without protobuf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bebr {

// What stands before a field: its number, and how its value is written.
constexpr uint64_t varint_field(uint64_t number) { return number << 3; }
constexpr uint64_t real_field(uint64_t number) { return number << 3 | 1; }
constexpr uint64_t bytes_field(uint64_t number) { return number << 3 | 2; }

// Reads a message from its beginning to its end. Once something is wrong, all that it reads is 0 or empty.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool more() const noexcept { return good_ && at_ < bytes_.size(); }
  bool good() const noexcept { return good_; }
  size_t at() const noexcept { return at_; }  // of what is read next
  // Whether each number so far was of as few bytes as it can be. Protobuf reads others, too, and never writes them.
  bool shortest() const noexcept { return shortest_; }

  uint64_t varint(uint64_t most) noexcept {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) return bad();
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      if (shift == 63 && byte > 1) return bad();
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) {
        shortest_ = shortest_ && (byte != 0 || shift == 0);
        return value > most ? bad() : value;
      }
    }
    return bad();
  }
  uint32_t number() noexcept { return static_cast<uint32_t>(varint(UINT32_MAX)); }
  bool flag() noexcept { return varint(1) != 0; }
  std::string_view bytes() noexcept { return take(varint(UINT32_MAX)); }
  double real() noexcept {
    double value = 0;
    const std::string_view taken = take(sizeof value);
    if (good_) std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  // Past the value of a field that nobody wants.
  void skip(uint64_t field) noexcept {
    if (field >> 3 == 0) bad();
    switch (field & 7) {
      case 0:
        varint(UINT64_MAX);
        break;
      case 1:
        take(8);
        break;
      case 2:
        bytes();
        break;
      case 5:
        take(4);
        break;
      default:
        bad();
    }
  }
  uint64_t bad() noexcept {
    good_ = false;
    return 0;
  }

 private:
  std::string_view take(uint64_t size) noexcept {
    if (!good_ || size > bytes_.size() - at_) return bad(), std::string_view{};
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }

  std::string_view bytes_;
  size_t at_ = 0;
  bool good_ = true, shortest_ = true;
};

}  // namespace bebr
