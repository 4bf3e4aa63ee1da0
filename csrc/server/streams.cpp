// The memory of calls, which later calls use again: eight calls of a size are more than malloc keeps at hand for a
// thread, and what it gives back to the system is cleared when it comes again (docs/experiments/call-instructions.md).
#include <utility>

#include "server/connection.h"

namespace bebr {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kKept = 0;  // so that a call that has ended is seen to be used
#else
constexpr size_t kKept = 256;
#endif
constexpr size_t kKeptText = 8 << 10;  // bytes of a text, so that all of them are few MiB

void empty(std::string& text) {
  if (text.capacity() > kKeptText)
    text = {};
  else
    text.clear();
}

}  // namespace

void Stream::end() noexcept {
  Stream next;
  std::swap(next.headers, headers);
  next.headers.clear();
  std::swap(next.in, in.capacity() < out.capacity() ? out : in);  // a message wants more than a reply
  empty(next.in);
  *this = std::move(next);
}

SpareStreams::SpareStreams() { kept_.reserve(kKept); }

SpareStreams::Streams::node_type SpareStreams::take(Connection& connection, int32_t id) {
  Streams::node_type taken;
  if (kept_.empty()) {
    Streams made;
    taken = made.extract(made.emplace(id, std::make_unique<Stream>()).first);
  } else {
    taken = std::move(kept_.back());
    kept_.pop_back();
    taken.key() = id;
  }
  taken.mapped()->connection = &connection;
  taken.mapped()->id = id;
  return taken;
}

void SpareStreams::give(Streams::node_type ended) noexcept {
  ended.mapped()->end();
  if (kept_.size() < kKept) kept_.push_back(std::move(ended));
}

}  // namespace bebr
