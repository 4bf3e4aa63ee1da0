#include "base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace bebr {
namespace {

#if defined(__linux__)
using State = unsigned char;
#else
using State = char;  // what the BSDs' mincore takes
#endif

struct Pages {
  void* start;
  size_t size;
};

size_t page_size() {
  static const auto size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

Pages pages_of(std::span<const uint8_t> bytes) {
  const size_t into = reinterpret_cast<uintptr_t>(bytes.data()) % page_size();
  return {const_cast<uint8_t*>(bytes.data() - into), bytes.size() + into};
}

}  // namespace

bool resident(std::span<const uint8_t> bytes) {
  std::array<State, 256> states;
  const Pages pages = pages_of(bytes);
  for (size_t at = 0; at < pages.size; at += states.size() * page_size()) {
    const size_t size = std::min(pages.size - at, states.size() * page_size());
    // Without an answer (no such call, no such memory) nothing is read ahead.
    if (::mincore(static_cast<uint8_t*>(pages.start) + at, size, states.data()) != 0) return true;
    const auto end = states.begin() + static_cast<std::ptrdiff_t>((size + page_size() - 1) / page_size());
    if (std::any_of(states.begin(), end, [](State state) { return (state & 1) == 0; })) return false;
  }
  return true;
}

// Refused advice changes only the time of a read.
void will_need(std::span<const uint8_t> bytes) {
  const Pages pages = pages_of(bytes);
  if (pages.size > 0) ::madvise(pages.start, pages.size, MADV_WILLNEED);
}

void touched_at_random(std::span<const uint8_t> bytes) {
  const Pages pages = pages_of(bytes);
  if (pages.size > 0) ::madvise(pages.start, pages.size, MADV_RANDOM);
}

}  // namespace bebr
