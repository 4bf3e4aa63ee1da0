#include "client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sockets.h"

namespace bebr::test {

HonestClient::HonestClient(uint16_t port) : socket_(connect_to(port)) {
  if (socket_ < 0) throw std::runtime_error("cannot connect");
  fcntl(socket_, F_SETFL, fcntl(socket_, F_GETFL) | O_NONBLOCK);
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
        auto& calls = static_cast<HonestClient*>(user)->calls_;
        if (const auto found = calls.find(frame->hd.stream_id); found != calls.end())
          found->second->reply.headers[{reinterpret_cast<const char*>(name), name_size}].assign(
              reinterpret_cast<const char*>(value), value_size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
        auto& calls = static_cast<HonestClient*>(user)->calls_;
        if (const auto found = calls.find(id); found != calls.end())
          found->second->reply.body.append(reinterpret_cast<const char*>(data), size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks, [](nghttp2_session*, int32_t id, uint32_t code, void* user) {
        auto& calls = static_cast<HonestClient*>(user)->calls_;
        if (const auto found = calls.find(id); found != calls.end()) {
          found->second->ended = true;
          found->second->reply.reset = code;
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks,
                                                       [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
                                                         if (frame->hd.type == NGHTTP2_GOAWAY)
                                                           static_cast<HonestClient*>(user)->goaway_ = true;
                                                         return 0;
                                                       });
  nghttp2_session_client_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(session_, 0, nullptr, 0);
}

HonestClient::~HonestClient() {
  nghttp2_session_del(session_);
  close(socket_);
}

int32_t HonestClient::begin(const std::string& path, std::string body, std::map<std::string, std::string> extra) {
  std::vector<std::pair<std::string, std::string>> headers = {
      {":method", "POST"},    {":scheme", "http"}, {":path", path},
      {":authority", "test"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
  for (auto& one : extra) headers.push_back(one);
  std::vector<nghttp2_nv> sent;
  for (const auto& [name, value] : headers) sent.push_back(entry(name, value));
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags,
                              nghttp2_data_source*, void* user) -> ssize_t {
    Call& one = *static_cast<HonestClient*>(user)->calls_.at(id);
    const size_t n = std::min(size, one.body.size() - one.at);
    std::memcpy(to, one.body.data() + one.at, n);
    one.at += n;
    if (one.at == one.body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  };
  const int32_t id = nghttp2_submit_request(session_, nullptr, sent.data(), sent.size(), &provider, nullptr);
  if (id < 0) throw std::runtime_error("no more calls");
  calls_[id] = std::make_unique<Call>();
  calls_[id]->body = std::move(body);
  return id;
}

void HonestClient::cancel(int32_t id) { nghttp2_submit_rst_stream(session_, 0, id, NGHTTP2_CANCEL); }

void HonestClient::ping() { nghttp2_submit_ping(session_, 0, nullptr); }

void HonestClient::take_all() {
  const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20};
  nghttp2_submit_settings(session_, 0, &window, 1);
  nghttp2_session_set_local_window_size(session_, 0, 0, 1 << 20);
  const int few = 32 << 10;
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
}

bool HonestClient::turn(int ms) {
  const uint8_t* bytes = nullptr;
  for (ssize_t n = 0; out_.size() < 65536 && (n = nghttp2_session_mem_send(session_, &bytes)) > 0;)
    out_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
  const ssize_t sent = out_.empty() ? 0 : send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL);
  if (sent > 0) out_.erase(0, static_cast<size_t>(sent));
  if (sent < 0 && errno != EAGAIN) closed_ = true;
  pollfd ready{socket_, static_cast<short>((reading ? POLLIN : 0) | (out_.empty() ? 0 : POLLOUT)), 0};
  if (closed_ || poll(&ready, 1, ms) <= 0 || (ready.revents & POLLIN) == 0 || !reading) return !closed_;
  static thread_local uint8_t buffer[65536];
  const ssize_t got = recv(socket_, buffer, sizeof buffer, 0);
  if (got == 0 || (got < 0 && errno != EAGAIN)) closed_ = true;
  if (got > 0 && nghttp2_session_mem_recv(session_, buffer, static_cast<size_t>(got)) < 0) closed_ = true;
  return !closed_;
}

Reply HonestClient::wait(int32_t id, int ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (!calls_.at(id)->ended && std::chrono::steady_clock::now() < end)
    if (!turn(20)) break;
  Reply reply = calls_.at(id)->reply;
  reply.closed = !calls_.at(id)->ended;
  return reply;
}

}  // namespace bebr::test
