// A client that does what it ought to.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace bebr::test {

struct Reply {
  bool closed = false;  // the connection ended before the call did
  std::string body;
  std::map<std::string, std::string> headers;  // trailers, too
  uint32_t reset = 0;
};

// `body` is one message, framed here.
class HonestClient {
 public:
  explicit HonestClient(uint16_t port);
  ~HonestClient();
  // Begins a call; returns its number. extra: more headers.
  int32_t begin(const std::string& path, std::string body, std::map<std::string, std::string> extra = {});
  void cancel(int32_t id);
  void ping();
  // Whole answers come without it reading anything: they wait on the way.
  void take_all();
  // Reads until the call has ended, at most so long.
  Reply wait(int32_t id, int ms = 5000);
  Reply call(const std::string& path, const std::string& body, std::map<std::string, std::string> extra = {}) {
    return wait(begin(path, body, std::move(extra)));
  }
  bool goaway() const noexcept { return goaway_; }
  // Sends and reads what is due, without waiting for more than `ms`; false: the connection has ended.
  bool turn(int ms);
  bool reading = true;  // false: nothing is read, as if it were busy with something else

 private:
  struct Call {
    std::string body;
    size_t at = 0;
    bool ended = false;
    Reply reply;
  };
  int socket_ = -1;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Call>> calls_;
  std::string out_;
  bool goaway_ = false, closed_ = false;
};

}  // namespace bebr::test
