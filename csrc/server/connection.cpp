#include "server/connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server/callbacks.h"
#include "server/loop.h"

namespace bebr {
namespace {

constexpr uint32_t kStreams = 256;               // calls of one connection at once; more wait in the client
constexpr uint32_t kStreamWindow = 256 << 10;    // more than such a message: it needs no update on its way
constexpr int32_t kConnectionWindow = 16 << 20;  // kStreams such messages fit, so that none waits for another
constexpr size_t kFlushBytes = 64 << 10;
constexpr size_t kReadBytes = 64 << 10;
constexpr unsigned kMostLingers = 600;  // looks whether a client has taken what it was sent

}  // namespace

Connection::Connection(Loop& loop, uint64_t id, int socket, Side side, std::unique_ptr<Transport> transport)
    : loop_(loop), id_(id), socket_(socket), side_(side), transport_(std::move(transport)) {
  const Callbacks& callbacks = Callbacks::shared();
  if (side == Side::Client)
    nghttp2_session_server_new3(&session_, callbacks.all, this, callbacks.options, loop.memory());
  else
    nghttp2_session_client_new3(&session_, callbacks.all, this, callbacks.options, loop.memory());
  if (session_ == nullptr) throw std::bad_alloc();
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreams},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderBytes},
                                             {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};  // of a client alone
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, side == Side::Leaf ? 4 : 3);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

Connection::~Connection() {
  nghttp2_session_del(session_);
  transport_.reset();
  ::close(socket_);
}

Stream* Connection::stream(int32_t id) noexcept {
  if (last_ != nullptr && last_->id == id) return last_;
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : last_ = found->second.get();
}

Stream& Connection::begin(int32_t id) {
  return *(last_ = streams_.insert(loop_.spare().take(*this, id)).position->second.get());
}

void Connection::end(SpareStreams::Streams::iterator stream, uint32_t code) {
  SpareStreams::Streams::node_type ended = streams_.extract(stream);
  last_ = nullptr;
  let_go(*ended.mapped(), code);
  loop_.spare().give(std::move(ended));
}

void Connection::set_dead() noexcept {
  dead_ = true;
  loop_.touch(*this);
}

// --- bytes

void Connection::receive() {
  if (ending_) return discard();
  static thread_local uint8_t buffer[kReadBytes];
  do {
    size_t taken = 0;
    const Transport::Status status = transport_->read(buffer, sizeof buffer, taken);
    if (status == Transport::Status::Closed) return set_dead();
    if (status == Transport::Status::Later) break;
    keys_.reset();
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
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) finish();
}

// A socket that is closed while bytes come in is reset, and what the client has not read yet is lost. So its end is
// waited for.
void Connection::finish() {
  if (side_ != Side::Client || !greeted_) {
    dead_ = true;
  } else if (!ending_) {
    ending_ = true;
    transport_->end();
    loop_.linger(*this);
  }
}

void Connection::discard() {
  static thread_local uint8_t buffer[kReadBytes];
  do {
    size_t taken = 0;
    const Transport::Status status = transport_->read(buffer, sizeof buffer, taken);
    if (status == Transport::Status::Closed) return set_dead();
    if (status == Transport::Status::Later) return;
  } while (transport_->buffered());
}

bool Connection::lingers() noexcept {
  int unacknowledged = 0;
  return ++lingered_ < kMostLingers && ioctl(socket_, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged > 0;
}

void Connection::go_away() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  loop_.touch(*this);
}

void Connection::close() {
  while (!streams_.empty()) end(streams_.begin(), NGHTTP2_NO_ERROR);
}

}  // namespace bebr
