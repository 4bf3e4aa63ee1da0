// What comes in by a connection: calls of a client, and answers of the server behind.
#include <algorithm>

#include "server/loop.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr size_t kOwnBytes = 64 << 10;    // of a message that is answered here,
constexpr size_t kRootBytes = 240 << 10;  // or by leaves: as much as comes without an update of the window
constexpr std::string_view kOurs = "/bebr.v1.";

}  // namespace

int Connection::begin_headers(const nghttp2_frame& frame) {
  if (side_ != Side::Client || frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  begin(frame.hd.stream_id).arrival = now_ns();
  ++loop_.front().calls_;
  return 0;
}

int Connection::header(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
  Stream* const stream = this->stream(frame.hd.stream_id);
  if (stream == nullptr) return 0;
  stream->header_bytes += name.size() + value.size() + 32;  // RFC 9113, 6.5.2
  if (stream->header_bytes > 2 * kHeaderBytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const bool first = side_ == Side::Client ? frame.headers.cat == NGHTTP2_HCAT_REQUEST : !stream->has_headers;
  (first ? stream->headers : stream->trailers).add(name, value);
  return 0;
}

void Connection::frame_received(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_SETTINGS) greeted_ = true;
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  Stream* const stream = this->stream(frame.hd.stream_id);
  if (stream == nullptr) return;
  const bool ended = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (side_ != Side::Client) {
    if (frame.hd.type == NGHTTP2_HEADERS && !stream->has_headers) return response(*stream, ended);
    if (side_ == Side::Leaf) return ended ? loop_.leaf_ended(*stream, true) : void();
    if (ended) {
      Stream* const client = stream->peer;
      stream->in_ended = true;
      if (client == nullptr) return;
      client->trailers = std::move(stream->trailers);
      client->out_ends = true;
      client->connection->resume(*client);
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
  const std::string_view path = value_of(stream.headers, ":path");
  const bool ours = path.substr(0, kOurs.size()) == kOurs && value_of(stream.headers, ":method") == "POST" &&
                    value_of(stream.headers, "content-type").substr(0, 16) == "application/grpc";
  if (ours && !front.open_) {
    if (!keys_) {
      keys_ = front.keys();
      if (*keys_ && !(*keys_)->current()) keys_->reset();
      known_ = {};
    }
    stream.keys = *keys_;
    const KeyTable::Caller caller = stream.keys ? stream.keys->caller(stream.headers, known_) : KeyTable::Caller{};
    if (caller.refusal != nullptr) {
      front.denied(peer, path);
      return fail(stream, "16", *caller.refusal);
    }
    stream.key = caller.key;
  }
  stream.own = ours && !stream.in_ended && (front.open_ || stream.key != nullptr) &&
               front.calls_ <= front.options_.calls && timeout != ~uint64_t{0} &&
               (path == kSearchPath || path == kListPath);
  if (!stream.own) forward(stream);
}

void Connection::end_of_input(Stream& stream) {
  if (stream.peer != nullptr) {
    stream.peer->out_ends = true;
    stream.peer->connection->resume(*stream.peer);
  } else if (stream.own && !stream.answered) {
    const std::optional<size_t> length = framed_length(stream.in);
    if (!length || stream.in.size() != kFrameHead + *length || !loop_.answers(stream)) forward(stream);
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
    if (stream->in.empty())
      if (const std::optional<size_t> length = framed_length(bytes); length && *length <= kOwnBytes)
        stream->in.reserve(kFrameHead + *length);
    stream->in.append(bytes);
    return own_data(*stream);
  }
  if (side_ == Side::Leaf && stream->scatter) {
    stream->in.append(bytes);
    consume(*stream, stream->unread);
    return loop_.leaf_came(*stream, bytes.size());
  }
  if (stream->peer == nullptr) return consume(*stream, stream->unread);  // nobody wants it any more
  stream->peer->out.append(bytes);
  stream->peer->connection->resume(*stream->peer);
}

// A message that is compressed, too long, or not the only one is not answered here.
void Connection::own_data(Stream& stream) {
  if (stream.in.size() < kFrameHead) return;
  const std::optional<size_t> length = framed_length(stream.in);
  const size_t most = loop_.front().routes_.used ? kRootBytes : kOwnBytes;
  if (!length || *length > most || stream.in.size() > kFrameHead + *length) forward(stream);
}

void Connection::response(Stream& stream, bool ended) {
  const std::string_view status = value_of(stream.headers, ":status");
  if (!status.empty() && status.front() == '1' && !ended) {  // more headers follow
    stream.headers.clear();
    return;
  }
  stream.has_headers = true;
  stream.in_ended = ended;
  if (side_ == Side::Leaf) return ended ? loop_.leaf_ended(stream, true) : void();
  Stream* const client = stream.peer;
  if (client == nullptr) return;
  client->out_ends = ended;
  client->connection->submit_response(*client, entries(stream.headers), !ended);
  stream.headers.clear();
}

// What was sent whole while the client still sends is told so: it need not go on.
void Connection::frame_sent(const nghttp2_frame& frame) {
  if (side_ != Side::Client || (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  if (frame.hd.type != NGHTTP2_DATA && frame.hd.type != NGHTTP2_HEADERS) return;
  Stream* const stream = this->stream(frame.hd.stream_id);
  if (stream != nullptr && !stream->in_ended) reset(*stream, NGHTTP2_NO_ERROR);
}

void Connection::closed(int32_t id, uint32_t code) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  if (found->second->unread > 0) nghttp2_session_consume_connection(session_, found->second->unread);
  end(found, code);
  loop_.touch(*this);
}

// The other half of a call that has ended on this connection.
void Connection::let_go(Stream& stream, uint32_t code) {
  if (side_ == Side::Client) {
    --loop_.front().calls_;
    if (stream.job || stream.scatter) loop_.forget(stream, 1);
  }
  if (side_ == Side::Leaf) return loop_.leaf_ended(stream, false);
  Stream* const peer = stream.peer;
  if (peer == nullptr) return;
  stream.peer = peer->peer = nullptr;
  Connection& there = *peer->connection;
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
