// Headers of calls, and what stands in them.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bebr {

// Of a forwarded call: who the client is (bebr/serve/peers.py).
inline constexpr std::string_view kPeer = "x-bebr-peer";

inline constexpr std::string_view kSearchPath = "/bebr.v1.Points/Search";
inline constexpr std::string_view kListPath = "/bebr.v1.Collections/List";

// Headers in their order. Cleared, it keeps its memory for the next call's.
class Headers {
 public:
  struct Entry {
    std::string_view name, value;  // good until the next change
  };
  bool empty() const noexcept { return marks_.empty(); }
  size_t size() const noexcept { return marks_.size(); }
  Entry operator[](size_t i) const noexcept {
    const auto& [at, name, value] = marks_[i];
    const std::string_view text = text_;
    return {text.substr(at, name), text.substr(at + name, value)};
  }
  void add(std::string_view name, std::string_view value);
  void remove(std::string_view name);  // all of that name
  void clear() noexcept {
    text_.clear();
    marks_.clear();
  }

 private:
  struct Mark {
    uint32_t at, name, value;  // where a name begins, and the sizes of both
  };
  std::string text_;
  std::vector<Mark> marks_;
};

// The header that has a call's id: the caller's in the request, the same or one made here in the reply.
inline constexpr const char* kRequestId = "x-request-id";

// As nghttp2 takes them: good as long as the headers.
std::vector<nghttp2_nv> entries(const Headers& headers);
// flags: NGHTTP2_NV_FLAG_…
nghttp2_nv entry(std::string_view name, std::string_view value, uint8_t flags = NGHTTP2_NV_FLAG_NONE) noexcept;
// Of texts that are there for ever.
inline nghttp2_nv lasting(std::string_view name, std::string_view value) noexcept {
  return entry(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE);
}
// The first of that name; empty where there is none.
std::string_view value_of(const Headers& headers, std::string_view name);
// Nanoseconds of a grpc-timeout; 0 for none, ~0 for one that cannot be read.
uint64_t timeout_of(std::string_view text);
// The same the other way round, at least 1 us.
std::string timeout_text(uint64_t ns);
// Whether a caller's id may be written down: a word of up to 128 characters (bebr/serve/calls.py).
bool good_request_id(std::string_view id);

}  // namespace bebr
