#include "server/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "server/loop.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr uint32_t kStreams = 256;               // calls of one connection at once; more wait in the client
constexpr size_t kHeaderBytes = 16 << 10;        // of one call
constexpr size_t kOwnBytes = 64 << 10;           // of a message that is answered here
constexpr uint32_t kStreamWindow = 256 << 10;    // more than such a message: it needs no update on its way
constexpr int32_t kConnectionWindow = 16 << 20;  // kStreams such messages fit, so that none waits for another
constexpr size_t kFlushBytes = 64 << 10;
constexpr size_t kReadBytes = 64 << 10;

nghttp2_nv entry(std::string_view name, std::string_view value) {
  // Copied: whoever holds the text may be gone before it is sent.
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

std::vector<nghttp2_nv> entries(const Headers& headers) {
  std::vector<nghttp2_nv> made;
  made.reserve(headers.size());
  for (const auto& [name, value] : headers) made.push_back(entry(name, value));
  return made;
}

std::string_view value_of(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

// Nanoseconds of a grpc-timeout; 0 for none, ~0 for one that cannot be read.
uint64_t timeout_of(std::string_view text) {
  if (text.empty()) return 0;
  constexpr uint64_t kBad = ~uint64_t{0};
  if (text.size() < 2 || text.size() > 9) return kBad;
  uint64_t value = 0;
  for (const char digit : text.substr(0, text.size() - 1)) {
    if (digit < '0' || digit > '9') return kBad;
    value = 10 * value + static_cast<uint64_t>(digit - '0');
  }
  switch (text.back()) {
    case 'H':
      return std::max<uint64_t>(1, value * 3'600'000'000'000);
    case 'M':
      return std::max<uint64_t>(1, value * 60'000'000'000);
    case 'S':
      return std::max<uint64_t>(1, value * 1'000'000'000);
    case 'm':
      return std::max<uint64_t>(1, value * 1'000'000);
    case 'u':
      return std::max<uint64_t>(1, value * 1'000);
    case 'n':
      return std::max<uint64_t>(1, value);
    default:
      return kBad;
  }
}

}  // namespace

struct Callbacks {
  static Connection& of(void* user) { return *static_cast<Connection*>(user); }
  // Nothing may be thrown through a library in C: a connection that has no memory ends.
  template <typename Work>
  static int guarded(const Work& work) noexcept {
    try {
      return work();
    } catch (const std::exception&) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }
  template <typename Work>
  static int done(const Work& work) noexcept {
    return guarded([&] {
      work();
      return 0;
    });
  }
  static std::string_view text(const uint8_t* bytes, size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }
  static ssize_t read(nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags, nghttp2_data_source*,
                      void* user) {
    ssize_t taken = 0;
    const int failed = done([&] { taken = of(user).read_out(id, to, size, flags); });
    return failed != 0 ? failed : taken;
  }

  nghttp2_session_callbacks* all = nullptr;
  nghttp2_option* options = nullptr;

  Callbacks() {
    nghttp2_session_callbacks_new(&all);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        all, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          return guarded([&] { return of(user).begin_headers(*frame); });
        });
    nghttp2_session_callbacks_set_on_header_callback(
        all, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                const uint8_t* value, size_t value_size, uint8_t, void* user) {
          return guarded([&] { return of(user).header(*frame, text(name, name_size), text(value, value_size)); });
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(all,
                                                         [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
                                                           return done([&] { of(user).frame_received(*frame); });
                                                         });
    nghttp2_session_callbacks_set_on_frame_send_callback(all,
                                                         [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
                                                           return done([&] { of(user).frame_sent(*frame); });
                                                         });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        all, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
          return done([&] { of(user).data(id, text(data, size)); });
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(all,
                                                           [](nghttp2_session*, int32_t id, uint32_t code, void* user) {
                                                             return done([&] { of(user).closed(id, code); });
                                                           });
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, 1);  // bytes count until they have been passed on
    nghttp2_option_set_max_settings(options, 32);
    // A blank at the end of a header is for the server behind to judge: it has words for a key that is none.
    nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(options, 1);
  }
  static const Callbacks& shared() {
    static const Callbacks made;
    return made;
  }
};

Connection::Connection(Loop& loop, uint64_t id, int socket, Side side, std::unique_ptr<Transport> transport)
    : loop_(loop), id_(id), socket_(socket), side_(side), transport_(std::move(transport)) {
  const Callbacks& callbacks = Callbacks::shared();
  if (side == Side::Client)
    nghttp2_session_server_new2(&session_, callbacks.all, this, callbacks.options);
  else
    nghttp2_session_client_new2(&session_, callbacks.all, this, callbacks.options);
  if (session_ == nullptr) throw std::bad_alloc();
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreams},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderBytes}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 3);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

Connection::~Connection() {
  nghttp2_session_del(session_);
  transport_.reset();
  ::close(socket_);
}

Stream* Connection::stream(int32_t id) noexcept {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

void Connection::set_dead() noexcept {
  dead_ = true;
  loop_.touch(*this);
}

// --- bytes

void Connection::receive() {
  static thread_local uint8_t buffer[kReadBytes];
  do {
    size_t taken = 0;
    const Transport::Status status = transport_->read(buffer, sizeof buffer, taken);
    if (status == Transport::Status::Closed) return set_dead();
    if (status == Transport::Status::Later) break;
    const ssize_t read = nghttp2_session_mem_recv(session_, buffer, taken);
    if (read < 0) return set_dead();
  } while (transport_->buffered());
  loop_.touch(*this);
}

void Connection::flush() {
  while (!dead_) {
    while (out_.size() - out_at_ < kFlushBytes) {
      const uint8_t* bytes = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
      if (size < 0) dead_ = true;
      if (size <= 0) break;
      out_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    if (out_at_ == out_.size()) break;
    size_t taken = 0;
    const Transport::Status status =
        transport_->write(reinterpret_cast<const uint8_t*>(out_.data()) + out_at_, out_.size() - out_at_, taken);
    out_at_ += taken;
    if (status == Transport::Status::Closed) dead_ = true;
    if (out_at_ == out_.size()) {
      out_.clear();
      out_at_ = 0;
    }
    if (status == Transport::Status::Later) {
      wants_write = true;
      return;
    }
  }
  wants_write = false;
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) dead_ = true;
}

void Connection::go_away() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  loop_.touch(*this);
}

void Connection::close() {
  while (!streams_.empty()) {
    const std::unique_ptr<Stream> stream = std::move(streams_.begin()->second);
    streams_.erase(streams_.begin());
    let_go(*stream, NGHTTP2_NO_ERROR);
  }
}

// --- what goes out

ssize_t Connection::read_out(int32_t id, uint8_t* to, size_t size, uint32_t* flags) {
  Stream* const stream = this->stream(id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const size_t n = std::min(size, stream->out.size() - stream->out_at);
  std::memcpy(to, stream->out.data() + stream->out_at, n);
  stream->out_at += n;
  if (n > 0 && stream->peer != nullptr) stream->peer->connection.consume(*stream->peer, n);
  if (stream->out_at < stream->out.size()) return static_cast<ssize_t>(n);
  stream->out.clear();
  stream->out_at = 0;
  if (stream->out_ends) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream->trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::vector<nghttp2_nv> trailers = entries(stream->trailers);
      nghttp2_submit_trailer(session_, id, trailers.data(), trailers.size());
    }
    return static_cast<ssize_t>(n);
  }
  if (n > 0) return static_cast<ssize_t>(n);
  stream->deferred = true;
  return NGHTTP2_ERR_DEFERRED;
}

void Connection::resume(Stream& stream) {
  if (stream.deferred) {
    stream.deferred = false;
    nghttp2_session_resume_data(session_, stream.id);
  }
  loop_.touch(*this);
}

void Connection::consume(Stream& stream, size_t bytes) {
  bytes = std::min(bytes, stream.unread);
  if (bytes == 0) return;
  stream.unread -= bytes;
  nghttp2_session_consume(session_, stream.id, bytes);
  loop_.touch(*this);
}

void Connection::submit_response(Stream& stream, const Headers& headers, bool body) {
  stream.answered = true;
  const std::vector<nghttp2_nv> sent = entries(headers);
  nghttp2_data_provider provider{};
  provider.read_callback = &Callbacks::read;
  if (nghttp2_submit_response(session_, stream.id, sent.data(), sent.size(), body ? &provider : nullptr) != 0)
    reset(stream, NGHTTP2_INTERNAL_ERROR);
  loop_.touch(*this);
}

void Connection::reset(Stream& stream, uint32_t code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, code);
  loop_.touch(*this);
}

void Connection::reply(Stream& stream, std::string body) {
  static const Headers head = {{":status", "200"}, {"content-type", "application/grpc"}};
  static const Headers ok = {{"grpc-status", "0"}};
  consume(stream, stream.unread);
  stream.in = {};
  stream.out = std::move(body);
  stream.out_ends = true;
  stream.trailers = ok;
  submit_response(stream, head, true);
}

void Connection::fail(Stream& stream, const char* status, std::string_view text) {
  consume(stream, stream.unread);
  stream.in = {};
  const Headers head = {{":status", "200"},
                        {"content-type", "application/grpc"},
                        {"grpc-status", status},
                        {"grpc-message", std::string(text)}};
  submit_response(stream, head, false);
}

void Connection::forward(Stream& stream) {
  stream.own = false;
  ++loop_.front().counts_.forwarded;
  Connection* const behind = loop_.behind(*this);
  if (behind == nullptr) return fail(stream, "14", "the server behind this front does not take connections");
  const std::vector<nghttp2_nv> headers = entries(stream.headers);
  nghttp2_data_provider provider{};
  provider.read_callback = &Callbacks::read;
  const bool body = !(stream.in_ended && stream.in.empty());
  const int32_t id = nghttp2_submit_request(behind->session_, nullptr, headers.data(), headers.size(),
                                            body ? &provider : nullptr, nullptr);
  if (id < 0) return fail(stream, "14", "the connection behind this one has had all the calls that it takes");
  auto made = std::make_unique<Stream>(*behind, id);
  made->peer = &stream;
  made->out = std::move(stream.in);
  made->out_ends = stream.in_ended;
  stream.in = {};
  stream.peer = made.get();
  behind->streams_.emplace(id, std::move(made));
  loop_.touch(*behind);
}

// --- what comes in

int Connection::begin_headers(const nghttp2_frame& frame) {
  if (side_ == Side::Behind || frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  const int32_t id = frame.hd.stream_id;
  auto made = std::make_unique<Stream>(*this, id);
  made->arrival = now_ns();
  streams_.emplace(id, std::move(made));
  ++loop_.front().calls_;
  return 0;
}

int Connection::header(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
  Stream* const stream = this->stream(frame.hd.stream_id);
  if (stream == nullptr) return 0;
  stream->header_bytes += name.size() + value.size() + 32;  // RFC 9113, 6.5.2
  if (stream->header_bytes > 2 * kHeaderBytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const bool first = side_ == Side::Client ? frame.headers.cat == NGHTTP2_HCAT_REQUEST : !stream->has_headers;
  (first ? stream->headers : stream->trailers).emplace_back(name, value);
  return 0;
}

void Connection::frame_received(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_SETTINGS) greeted_ = true;
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  Stream* const stream = this->stream(frame.hd.stream_id);
  if (stream == nullptr) return;
  const bool ended = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (side_ == Side::Behind) {
    if (frame.hd.type == NGHTTP2_HEADERS && !stream->has_headers) return response(*stream, ended);
    if (ended) {
      Stream* const client = stream->peer;
      stream->in_ended = true;
      if (client == nullptr) return;
      client->trailers = std::move(stream->trailers);
      client->out_ends = true;
      client->connection.resume(*client);
    }
    return;
  }
  if (ended) stream->in_ended = true;
  if (frame.hd.type == NGHTTP2_HEADERS && frame.headers.cat == NGHTTP2_HCAT_REQUEST)
    request(*stream);
  else if (ended)
    end_of_input(*stream);
}

// The headers of a call are complete.
void Connection::request(Stream& stream) {
  Front& front = loop_.front();
  const uint64_t timeout = timeout_of(value_of(stream.headers, "grpc-timeout"));
  stream.deadline = timeout > 0 ? stream.arrival + std::min<uint64_t>(timeout, uint64_t{1} << 62) : 0;
  stream.own = !stream.in_ended && front.open_ && front.calls_ <= front.options_.calls && timeout != ~uint64_t{0} &&
               value_of(stream.headers, "x-request-id").empty() &&  // it comes back with the reply, and is logged
               value_of(stream.headers, ":path") == "/bebr.v1.Points/Search" &&
               value_of(stream.headers, ":method") == "POST" &&
               value_of(stream.headers, "content-type").substr(0, 16) == "application/grpc";
  if (!stream.own) forward(stream);
}

void Connection::end_of_input(Stream& stream) {
  if (stream.peer != nullptr) {
    stream.peer->out_ends = true;
    stream.peer->connection.resume(*stream.peer);
  } else if (stream.own && !stream.answered) {
    const std::optional<size_t> length = framed_length(stream.in);
    if (!length || stream.in.size() != kFrameHead + *length || !loop_.search(stream)) forward(stream);
  }
}

void Connection::data(int32_t id, std::string_view bytes) {
  Stream* const stream = this->stream(id);
  if (stream == nullptr) {
    nghttp2_session_consume_connection(session_, bytes.size());
    return loop_.touch(*this);
  }
  stream->unread += bytes.size();
  if (side_ == Side::Client && stream->own) {
    stream->in.append(bytes);
    return own_data(*stream);
  }
  if (stream->peer == nullptr) return consume(*stream, stream->unread);  // nobody wants it any more
  stream->peer->out.append(bytes);
  stream->peer->connection.resume(*stream->peer);
}

// A message that is compressed, too long, or not the only one is not answered here.
void Connection::own_data(Stream& stream) {
  if (stream.in.size() < kFrameHead) return;
  const std::optional<size_t> length = framed_length(stream.in);
  if (!length || *length > kOwnBytes || stream.in.size() > kFrameHead + *length) forward(stream);
}

void Connection::response(Stream& stream, bool ended) {
  const std::string_view status = value_of(stream.headers, ":status");
  if (!status.empty() && status.front() == '1' && !ended) {  // more headers follow
    stream.headers.clear();
    return;
  }
  stream.has_headers = true;
  stream.in_ended = ended;
  Stream* const client = stream.peer;
  if (client == nullptr) return;
  client->out_ends = ended;
  client->connection.submit_response(*client, stream.headers, !ended);
  stream.headers.clear();
}

// What was sent whole while the client still sends is told so: it need not go on.
void Connection::frame_sent(const nghttp2_frame& frame) {
  if (side_ == Side::Behind || (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  if (frame.hd.type != NGHTTP2_DATA && frame.hd.type != NGHTTP2_HEADERS) return;
  Stream* const stream = this->stream(frame.hd.stream_id);
  if (stream != nullptr && !stream->in_ended) reset(*stream, NGHTTP2_NO_ERROR);
}

void Connection::closed(int32_t id, uint32_t code) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const std::unique_ptr<Stream> stream = std::move(found->second);
  streams_.erase(found);
  if (stream->unread > 0) nghttp2_session_consume_connection(session_, stream->unread);
  let_go(*stream, code);
  loop_.touch(*this);
}

// The other half of a call that has ended on this connection.
void Connection::let_go(Stream& stream, uint32_t code) {
  if (side_ == Side::Client) {
    --loop_.front().calls_;
    if (stream.job) loop_.forget(stream, 1);
  }
  Stream* const peer = stream.peer;
  if (peer == nullptr) return;
  stream.peer = peer->peer = nullptr;
  Connection& there = peer->connection;
  if (side_ == Side::Client) {
    there.reset(*peer, NGHTTP2_CANCEL);
  } else if (!peer->answered && code == NGHTTP2_NO_ERROR) {
    there.fail(*peer, "14", "the server behind this front ended the connection");
  } else if (!peer->answered || !peer->out_ends) {
    there.reset(*peer, code == NGHTTP2_NO_ERROR ? static_cast<uint32_t>(NGHTTP2_INTERNAL_ERROR) : code);
  } else {
    there.consume(*peer, peer->unread);  // what it still sends is not wanted
  }
}

}  // namespace bebr
