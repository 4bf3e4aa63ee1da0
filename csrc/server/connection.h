// One HTTP/2 connection: of a client, the one to the server behind that carries what the client's forwards, or one to a
// leaf.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/headers.h"
#include "server/job.h"
#include "server/keys.h"
#include "server/scatter.h"
#include "server/transport.h"

namespace bebr {

class Loop;
class Connection;

// Bytes of the headers of one call.
inline constexpr size_t kHeaderBytes = 16 << 10;

// A call as one of the two connections sees it.
struct Stream {
  Connection* connection = nullptr;
  int32_t id = 0;
  Stream* peer = nullptr;  // of a forwarded call, on the other connection
  Headers headers, trailers;
  size_t header_bytes = 0;
  std::string in;   // of a call that may be answered here: what came of its message
  std::string out;  // what is still to be sent, from out_at on
  size_t out_at = 0;
  size_t unread = 0;  // bytes that came and hold the window of this connection closed
  bool own = false;   // it may be answered here
  bool in_ended = false, out_ends = false, answered = false, deferred = false, has_headers = false;
  uint64_t arrival = 0, deadline = 0;    // deadline 0: none
  std::shared_ptr<const KeyTable> keys;  // that has `key`
  const ApiKey* key = nullptr;           // whose call it is, where that was looked at
  std::string request_id;                // of a call that is answered here
  std::shared_ptr<Job> job;
  std::shared_ptr<Scatter> scatter;  // of a client's call, or of that for which a leaf is called,
  size_t part = 0;                   // of which this one is,
  std::shared_ptr<const Leaf> leaf;  // by this leaf,
  LeafQueue* queue = nullptr;        // which others wait for; null once it has ended
  Lease lease, texts;                // until it has ended: of request and answers, and of the texts in the reply

  // Lets go of everything but the memory of its texts, which the next call may use.
  void end() noexcept;
};

// Calls that have ended, whose memory others take. Of one loop.
class SpareStreams {
 public:
  using Streams = std::unordered_map<int32_t, std::unique_ptr<Stream>>;
  SpareStreams();
  Streams::node_type take(Connection& connection, int32_t id);
  void give(Streams::node_type ended) noexcept;

 private:
  std::vector<Streams::node_type> kept_;
};

class Connection {
 public:
  enum class Side { Client, Behind, Leaf };  // who is at the other end
  Connection(Loop& loop, uint64_t id, int socket, Side side, std::unique_ptr<Transport> transport);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  uint64_t id() const noexcept { return id_; }
  int socket() const noexcept { return socket_; }
  Side side() const noexcept { return side_; }
  bool dead() const noexcept { return dead_; }
  bool greeted() const noexcept { return greeted_; }
  size_t streams() const noexcept { return streams_.size(); }
  Stream* stream(int32_t id) noexcept;

  // Both set dead() where the connection has ended.
  void receive();
  void flush();
  // Sends GOAWAY: calls in progress go on, no others begin.
  void go_away();
  // Ends every call. The connection is of no further use.
  void close();
  void set_dead() noexcept;
  // Whether a client may not have yet what it was sent.
  bool owes() const noexcept { return greeted_ && (out_at_ < out_.size() || ending_); }
  // Of one that waits for its client's end: whether it goes on waiting.
  bool lingers() noexcept;

  // The answers to a call of a client.
  void reply(Stream& stream, std::string body);
  void fail(Stream& stream, const char* status, std::string_view text);
  void forward(Stream& stream);
  // A call of a leaf, of one framed message. Null where this connection takes no more now.
  Stream* ask(std::span<const nghttp2_nv> headers, std::string message);
  // Whether calls may begin here, now or later.
  bool open() const noexcept { return !dead_ && nghttp2_session_check_request_allowed(session_) != 0; }
  // Its answer is not wanted any more.
  void cancel(Stream& stream) { reset(stream, NGHTTP2_CANCEL); }

  std::string peer;                     // of a client: who it is (peer_name)
  bool wants_write = false;             // after a flush
  bool touched = false, armed = false;  // the loop's
  uint64_t other = 0;                   // the connection that this one's calls are forwarded to, or come from

 private:
  friend struct Callbacks;
  Stream& begin(int32_t id);
  void end(SpareStreams::Streams::iterator stream, uint32_t code);
  int begin_headers(const nghttp2_frame& frame);
  int header(const nghttp2_frame& frame, std::string_view name, std::string_view value);
  void frame_received(const nghttp2_frame& frame);
  void frame_sent(const nghttp2_frame& frame);
  void data(int32_t id, std::string_view bytes);
  void closed(int32_t id, uint32_t code);
  ssize_t read_out(int32_t id, uint8_t* to, size_t size, uint32_t* flags);

  void request(Stream& stream);
  void response(Stream& stream, bool ended);
  void own_data(Stream& stream);
  void end_of_input(Stream& stream);
  void resume(Stream& stream);
  void consume(Stream& stream, size_t bytes);
  void finish();
  void discard();
  void let_go(Stream& stream, uint32_t code);
  void reset(Stream& stream, uint32_t code);
  void submit_response(Stream& stream, std::span<const nghttp2_nv> sent, bool body);

  Loop& loop_;
  const uint64_t id_;
  const int socket_;
  const Side side_;
  std::unique_ptr<Transport> transport_;
  nghttp2_session* session_ = nullptr;
  SpareStreams::Streams streams_;
  Stream* last_ = nullptr;  // of these: the one that was asked for last, as a call's headers do one by one
  std::string out_;
  size_t out_at_ = 0;
  bool dead_ = false, greeted_ = false;
  bool ending_ = false;  // nothing more is sent; what comes is thrown away until the client ends, too
  unsigned lingered_ = 0;
  // The table of keys, null where its file has changed, and one of it. Looked at once for all calls of a read: they
  // were sent before it, so that a key that was revoked before that does not count.
  std::optional<std::shared_ptr<const KeyTable>> keys_;
  KeyTable::Known known_;
};

}  // namespace bebr
