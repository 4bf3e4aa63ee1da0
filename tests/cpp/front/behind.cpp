#include "behind.h"

#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <vector>

#include "sockets.h"

namespace bebr::test {
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
    if (asked.allow) ids[i] = rank < asked.allow->size() ? (*asked.allow)[rank] : -1;
    scores[i] = -static_cast<float>(rank);
  }
  --running;
  return good;
}

bool FakeCollection::try_search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                                     int64_t* ids) const noexcept {
  std::vector<float> queries(n * kDim);
  for (size_t i = 0; i < n; ++i) queries[i * kDim] = static_cast<float>(of[i] + 1);
  return std::find(of, of + n, 13) == of + n && try_search(queries.data(), n, asked, scores, ids);
}

bool FakeCollection::try_search_groups(const float* queries, const int64_t* of, size_t n, const CollectionSearch& asked,
                                       size_t size, RowGroups& out) const noexcept {
  CollectionSearch deeper = asked;
  deeper.k = asked.k * size;
  out.scores.resize(n * deeper.k);
  out.ids.resize(n * deeper.k);
  for (size_t i = 0; i < n * asked.k; ++i) out.values.push_back("\"g" + std::to_string(i % asked.k) + "\"");
  return of == nullptr ? try_search(queries, n, deeper, out.scores.data(), out.ids.data())
                       : try_search_rows(of, n, deeper, out.scores.data(), out.ids.data());
}

bool FakeCollection::try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept {
  static const std::string x(2'000'000, 'x'), k(1000, 'k');
  for (size_t i = 0; i < n; ++i) {
    if (ids[i] == 13) return false;
    const auto size = static_cast<size_t>(ids[i]);
    if (payloads) out.payloads.push_back(std::string_view(x).substr(0, size));
    if (keyed_) out.keys.push_back(std::string_view(k).substr(0, size));
  }
  return true;
}

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

}  // namespace bebr::test
