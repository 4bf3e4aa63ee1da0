#include "peers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <stdexcept>

namespace bebr::test {
namespace {

nghttp2_nv entry(const std::string& name, const std::string& value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

bool send_all(int socket, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t sent = send(socket, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<size_t>(sent);
  }
  return true;
}

}  // namespace

bool FakeCollection::try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                                int64_t* ids) const noexcept {
  ++running;
  bool good = true;
  for (uint32_t waited = 0; waited < slow_ms_ && good; ++waited) {
    sleep_ms(1);
    good = asked.stop == nullptr || !*asked.stop;
  }
  if (!good) ++stopped;
  for (size_t i = 0; i < n * asked.k && good; ++i) {
    const size_t rank = i % asked.k;
    ids[i] = rank < rows_ ? static_cast<int64_t>(queries[i / asked.k * kDim]) + static_cast<int64_t>(rank) : -1;
    scores[i] = -static_cast<float>(rank);
  }
  --running;
  return good;
}

// --- the server behind

namespace {

struct BehindStream {
  std::string path, in, out;
  size_t at = 0;
  bool begun = false;
};

struct BehindConnection {
  nghttp2_session* session = nullptr;
  std::map<int32_t, BehindStream> streams;
  std::atomic<int>* calls = nullptr;
  bool gone = false;

  void answer(int32_t id) {
    BehindStream& stream = streams[id];
    if (stream.begun) return;
    stream.begun = true;
    ++*calls;
    if (stream.path == "/gone") {
      gone = true;
      return;
    }
    if (stream.path == "/reset") {
      nghttp2_submit_rst_stream(session, 0, id, NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    if (stream.path == "/late") sleep_ms(20);
    if (stream.path == "/big")
      stream.out.assign(300'000, 'x');
    else if (stream.path == "/bebr.v1.Points/Search")
      stream.out = "behind";
    else if (stream.path != "/empty")
      stream.out = stream.in;
    static const std::string status = ":status", ok = "200", type = "content-type", grpc = "application/grpc";
    const nghttp2_nv head[] = {entry(status, ok), entry(type, grpc)};
    nghttp2_data_provider provider{};
    provider.read_callback = [](nghttp2_session* at, int32_t number, uint8_t* to, size_t size, uint32_t* flags,
                                nghttp2_data_source*, void* user) -> ssize_t {
      BehindStream& one = static_cast<BehindConnection*>(user)->streams[number];
      const size_t n = std::min(size, one.out.size() - one.at);
      std::memcpy(to, one.out.data() + one.at, n);
      one.at += n;
      if (one.at == one.out.size()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        static const std::string name = "grpc-status", zero = "0";
        const nghttp2_nv trailer = entry(name, zero);
        nghttp2_submit_trailer(at, number, &trailer, 1);
      }
      return static_cast<ssize_t>(n);
    };
    nghttp2_submit_response(session, id, head, 2, &provider);
  }
};

}  // namespace

ServerBehind::ServerBehind() {
  char name[] = "/tmp/bebr-behind-XXXXXX";
  if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder");
  folder_ = name;
  path_ = folder_ + "/s";
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 1024) != 0)
    throw std::runtime_error("cannot listen behind");
  accepting_ = std::thread([this] {
    while (!stopping_) {
      pollfd ready{listener_, POLLIN, 0};
      if (poll(&ready, 1, 50) <= 0) continue;
      const int found = accept(listener_, nullptr, nullptr);
      if (found < 0) continue;
      ++serving_;
      std::thread([this, found] {
        serve(found);
        --serving_;
      }).detach();
    }
  });
}

ServerBehind::~ServerBehind() {
  stopping_ = true;
  accepting_.join();
  while (serving_ > 0) sleep_ms(1);
  close(listener_);
  unlink(path_.c_str());
  rmdir(folder_.c_str());
}

void ServerBehind::serve(int socket) {
  BehindConnection of;
  of.calls = &calls;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
        if (std::string(reinterpret_cast<const char*>(name), name_size) == ":path")
          static_cast<BehindConnection*>(user)->streams[frame->hd.stream_id].path.assign(
              reinterpret_cast<const char*>(value), value_size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        auto& all = *static_cast<BehindConnection*>(user);
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
        const auto found = all.streams.find(frame->hd.stream_id);
        if (found == all.streams.end()) return 0;
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 || found->second.path == "/early")
          all.answer(frame->hd.stream_id);
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
        static_cast<BehindConnection*>(user)->streams[id].in.append(reinterpret_cast<const char*>(data), size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                         [](nghttp2_session*, int32_t id, uint32_t, void* user) {
                                                           static_cast<BehindConnection*>(user)->streams.erase(id);
                                                           return 0;
                                                         });
  nghttp2_session_server_new(&of.session, callbacks, &of);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(of.session, 0, nullptr, 0);
  std::vector<uint8_t> buffer(65536);
  while (!stopping_ && !of.gone) {
    const uint8_t* bytes = nullptr;
    bool open = true;
    for (ssize_t n = 0; open && (n = nghttp2_session_mem_send(of.session, &bytes)) > 0;)
      open = send_all(socket, {reinterpret_cast<const char*>(bytes), static_cast<size_t>(n)});
    if (!open) break;
    pollfd ready{socket, POLLIN, 0};
    if (poll(&ready, 1, 50) <= 0) continue;
    const ssize_t got = recv(socket, buffer.data(), buffer.size(), 0);
    if (got <= 0 || nghttp2_session_mem_recv(of.session, buffer.data(), static_cast<size_t>(got)) < 0) break;
  }
  nghttp2_session_del(of.session);
  close(socket);
}

// --- clients

int connect_to(uint16_t port) {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(made, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const int one = 1;
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return made;
  }
  close(made);
  return -1;
}

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

// --- messages

namespace {

void put_varint(std::string& out, uint64_t value) {
  for (; value > 127; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

std::string framed(const std::string& message) {
  std::string out(5, '\0');
  for (size_t i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(message.size() >> 8 * (3 - i));
  return out + message;
}

}  // namespace

std::string search_message(const std::string& collection, float first, uint32_t k) {
  float query[kDim] = {first, 1, 2, 3};
  std::string vectors = "\x0a";
  put_varint(vectors, sizeof query);
  vectors.append(reinterpret_cast<const char*>(query), sizeof query);
  vectors += "\x18";
  put_varint(vectors, kDim);
  vectors += "\x20\x01";
  std::string message = "\x0a";
  put_varint(message, collection.size());
  message += collection + "\x12";
  put_varint(message, vectors.size());
  message += vectors + "\x18";
  put_varint(message, k);
  return framed(message);
}

namespace {

// Frames as a client may send them, with headers as literals: no state is shared, so any may be changed.
class Frames {
 public:
  explicit Frames(std::mt19937& random) : random_(random) {}

  size_t up_to(size_t n) { return random_() % (n + 1); }
  bool one_in(size_t n) { return random_() % n == 0; }

  std::string frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
    std::string out;
    for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(payload.size() >> shift));
    out.push_back(static_cast<char>(type));
    out.push_back(static_cast<char>(flags));
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(stream >> shift));
    return out + payload;
  }
  std::string number(uint32_t value) {
    std::string out;
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(value >> shift));
    return out;
  }
  std::string literal(const std::string& name, const std::string& value) {
    std::string out(1, '\0');
    for (const std::string* text : {&name, &value}) {
      if (text->size() < 127) {
        out.push_back(static_cast<char>(text->size()));
      } else {
        out.push_back(127);
        put_varint(out, text->size() - 127);
      }
      out += *text;
    }
    return out;
  }

  // One call: headers, a message in pieces, and what may come in between.
  void call(uint32_t id, std::vector<std::string>& out) {
    static const char* const paths[] = {"/bebr.v1.Points/Search",
                                        "/bebr.v1.Points/Search",
                                        "/bebr.v1.Points/Search",
                                        "/echo",
                                        "/empty",
                                        "/big",
                                        "/late",
                                        "/reset",
                                        "/early",
                                        "/gone"};
    const std::string path = paths[random_() % (one_in(8) ? 10 : 9)];
    std::string headers = literal(":method", "POST") + literal(":scheme", "http") + literal(":path", path) +
                          literal(":authority", "x") + literal("te", "trailers") +
                          literal("content-type", "application/grpc");
    static const char* const timeouts[] = {"1m", "5u", "1S", "99999999H", "x", "20m"};
    if (one_in(4)) headers += literal("grpc-timeout", timeouts[random_() % 6]);
    if (one_in(20)) headers += literal("x-long", std::string(up_to(40'000), 'y'));
    static const char* const names[] = {"small", "large", "slow", "nothing"};
    std::string body = search_message(names[random_() % 4], static_cast<float>(up_to(1000)),
                                      static_cast<uint32_t>(1 + up_to(one_in(10) ? 40'000 : 20)));
    if (one_in(3))
      for (size_t i = 0; i <= up_to(3); ++i) body[up_to(body.size() - 1)] = static_cast<char>(random_());
    if (one_in(8)) body.resize(up_to(body.size()));
    if (one_in(12)) body += search_message("small", 1, 1);
    if (one_in(15)) body = framed(std::string(up_to(200'000), 'z'));
    const bool bare = one_in(15);
    if (headers.size() <= 16'000) {
      out.push_back(frame(1, static_cast<uint8_t>(4 | (bare ? 1 : 0)), id, headers));
    } else {
      out.push_back(frame(1, 0, id, headers.substr(0, 16'000)));
      for (size_t at = 16'000; at < headers.size(); at += 16'000)
        out.push_back(frame(9, at + 16'000 < headers.size() ? 0 : 4, id, headers.substr(at, 16'000)));
    }
    if (bare) return;
    for (size_t at = 0; at < body.size();) {
      const size_t n = std::min<size_t>(1 + up_to(one_in(2) ? 20 : 16'000), std::min<size_t>(16'384, body.size() - at));
      at += n;
      const bool last = at == body.size();
      out.push_back(frame(0, last && !one_in(10) ? 1 : 0, id, body.substr(at - n, n)));
      if (one_in(40)) out.push_back(other(id));
      if (out.size() > 400) break;
    }
    if (one_in(6)) out.push_back(frame(3, 0, id, number(one_in(2) ? 8 : static_cast<uint32_t>(up_to(20)))));
  }

  std::string other(uint32_t id) {
    switch (random_() % 8) {
      case 0:
        return frame(6, static_cast<uint8_t>(up_to(1)), 0, std::string(8, 'p'));
      case 1:
        return frame(8, 0, one_in(2) ? 0 : id, number(static_cast<uint32_t>(one_in(3) ? 0x7fffffff : up_to(100'000))));
      case 2:
        return frame(4, 0, 0, std::string("\0\4", 2) + number(static_cast<uint32_t>(up_to(one_in(2) ? 0 : 100'000))));
      case 3:
        return frame(3, 0, id, number(8));
      case 4:
        return frame(2, 0, id, number(0) + "\x10");
      case 5:
        return frame(7, 0, 0, number(0) + number(0));
      case 6:
        return frame(static_cast<uint8_t>(random_()), static_cast<uint8_t>(random_()), id, std::string(up_to(30), 'q'));
      default:
        return frame(4, 1, 0, "");
    }
  }

 private:
  std::mt19937& random_;
};

}  // namespace

std::vector<std::string> random_connection(std::mt19937& random) {
  Frames frames(random);
  std::string settings;
  if (frames.one_in(3)) settings += std::string("\0\4", 2) + frames.number(static_cast<uint32_t>(frames.up_to(70'000)));
  std::vector<std::string> out = {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.frame(4, 0, 0, settings)};
  const size_t calls = 1 + frames.up_to(6);
  for (size_t i = 0; i < calls; ++i) frames.call(static_cast<uint32_t>(2 * i + 1), out);
  if (frames.one_in(3)) out.push_back(frames.other(1));
  if (frames.one_in(2)) return out;
  for (size_t i = 0; i <= frames.up_to(4); ++i) {  // changed bytes, mostly of the heads of frames
    std::string& piece = out[frames.up_to(out.size() - 1)];
    piece[frames.up_to(std::min<size_t>(piece.size() - 1, frames.one_in(2) ? 8 : 100))] = static_cast<char>(random());
  }
  return out;
}

}  // namespace bebr::test
