// What goes out of a connection: answers, and calls to the server behind.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "server/callbacks.h"
#include "server/loop.h"

namespace bebr {
namespace {

// Of a header whose value is another each time: the other side need not keep it for the next.
constexpr uint8_t kAnother = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX;
constexpr size_t kMostAsked = 1024;  // calls of a leaf in progress; those beyond its own limit wait here

}  // namespace

ssize_t Connection::read_out(int32_t id, uint8_t* to, size_t size, uint32_t* flags) {
  Stream* const stream = this->stream(id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const size_t n = std::min(size, stream->out.size() - stream->out_at);
  std::memcpy(to, stream->out.data() + stream->out_at, n);
  stream->out_at += n;
  if (n > 0 && stream->peer != nullptr) stream->peer->connection->consume(*stream->peer, n);
  if (stream->out_at < stream->out.size()) return static_cast<ssize_t>(n);
  stream->out.clear();
  stream->out_at = 0;
  if (stream->out_ends) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->own) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const nghttp2_nv trailers[] = {lasting("grpc-status", "0"), entry(kRequestId, stream->request_id, kAnother)};
      nghttp2_submit_trailer(session_, id, trailers, std::size(trailers));
    } else if (!stream->trailers.empty()) {
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

void Connection::submit_response(Stream& stream, std::span<const nghttp2_nv> sent, bool body) {
  stream.answered = true;
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
  static const nghttp2_nv head[] = {lasting(":status", "200"), lasting("content-type", "application/grpc")};
  consume(stream, stream.unread);
  stream.out = std::move(body);
  stream.out_ends = true;
  submit_response(stream, head, true);
}

void Connection::fail(Stream& stream, const char* status, std::string_view text) {
  consume(stream, stream.unread);
  stream.in.clear();
  Headers head;
  head.add(":status", "200");
  head.add("content-type", "application/grpc");
  head.add("grpc-status", status);
  head.add("grpc-message", text);
  if (!stream.request_id.empty()) head.add(kRequestId, stream.request_id);
  submit_response(stream, entries(head), false);
}

Stream* Connection::ask(std::span<const nghttp2_nv> headers, std::string message) {
  if (!open() || streams_.size() >= kMostAsked) return nullptr;
  nghttp2_data_provider provider{};
  provider.read_callback = &Callbacks::read;
  const int32_t id = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &provider, nullptr);
  if (id < 0) return nullptr;
  Stream& made = begin(id);
  made.out = std::move(message);
  made.out_ends = true;
  loop_.touch(*this);
  return &made;
}

void Connection::forward(Stream& stream) {
  stream.own = false;
  ++loop_.front().counts_.forwarded;
  Connection* const behind = loop_.behind(*this);
  if (behind == nullptr) return fail(stream, "14", "the server behind this front does not take connections");
  // The server behind knows this front alone. What a client says of itself is not believed.
  stream.headers.remove(kPeer);
  stream.headers.add(kPeer, peer);
  const std::vector<nghttp2_nv> headers = entries(stream.headers);
  nghttp2_data_provider provider{};
  provider.read_callback = &Callbacks::read;
  const bool body = !(stream.in_ended && stream.in.empty());
  const int32_t id = nghttp2_submit_request(behind->session_, nullptr, headers.data(), headers.size(),
                                            body ? &provider : nullptr, nullptr);
  if (id < 0) return fail(stream, "14", "the connection behind this one has had all the calls that it takes");
  Stream& made = behind->begin(id);
  made.peer = &stream;
  made.out.swap(stream.in);
  made.out_ends = stream.in_ended;
  stream.in.clear();
  stream.peer = &made;
  loop_.touch(*behind);
}

}  // namespace bebr
