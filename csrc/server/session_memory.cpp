#include "server/session_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace bebr {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kKeptBytes = 0;  // so that what was given back is seen to be used
#else
constexpr size_t kKeptBytes = 4 << 20;
#endif

}  // namespace

// What is before the bytes of a piece.
struct alignas(std::max_align_t) SessionMemory::Piece {
  size_t steps;  // 0: too large to be kept
  union {
    size_t size;
    Piece* next;  // of those that are free
  };
  void* bytes() noexcept { return this + 1; }
  static Piece* of(void* bytes) noexcept { return static_cast<Piece*>(bytes) - 1; }
};

SessionMemory::SessionMemory() noexcept {
  functions_.mem_user_data = this;
  functions_.malloc = [](size_t size, void* user) { return static_cast<SessionMemory*>(user)->take(size); };
  functions_.free = [](void* bytes, void* user) { static_cast<SessionMemory*>(user)->give_back(bytes); };
  functions_.calloc = [](size_t count, size_t size, void* user) -> void* {
    size_t all = 0;
    if (__builtin_mul_overflow(count, size, &all)) return nullptr;
    void* const made = static_cast<SessionMemory*>(user)->take(all);
    return made == nullptr ? nullptr : std::memset(made, 0, all);
  };
  functions_.realloc = [](void* bytes, size_t size, void* user) {
    return static_cast<SessionMemory*>(user)->resize(bytes, size);
  };
}

SessionMemory::~SessionMemory() {
  for (Piece* first : free_)
    while (first != nullptr) std::free(std::exchange(first, first->next));
}

void* SessionMemory::take(size_t size) noexcept {
  const size_t steps = size > kLargest ? 0 : (size + kStep - 1) / kStep;
  if (steps > 0 && free_[steps] != nullptr) {
    Piece* const piece = std::exchange(free_[steps], free_[steps]->next);
    kept_ -= kStep * steps;
    piece->size = size;
    return piece->bytes();
  }
  if (size > SIZE_MAX - sizeof(Piece) - kStep) return nullptr;
  auto* const piece = static_cast<Piece*>(std::malloc(sizeof(Piece) + (steps > 0 ? kStep * steps : size)));
  if (piece == nullptr) return nullptr;
  piece->steps = steps;
  piece->size = size;
  return piece->bytes();
}

void SessionMemory::give_back(void* bytes) noexcept {
  if (bytes == nullptr) return;
  Piece* const piece = Piece::of(bytes);
  const size_t size = kStep * piece->steps;
  if (size == 0 || kept_ + size > kKeptBytes) return std::free(piece);
  kept_ += size;
  piece->next = std::exchange(free_[piece->steps], piece);
}

void* SessionMemory::resize(void* bytes, size_t size) noexcept {
  if (bytes == nullptr) return take(size);
  Piece* const piece = Piece::of(bytes);
  if (piece->steps > 0 && size <= kStep * piece->steps) {
    piece->size = size;
    return bytes;
  }
  void* const made = take(size);
  if (made == nullptr) return nullptr;
  std::memcpy(made, bytes, piece->size < size ? piece->size : size);
  give_back(bytes);
  return made;
}

}  // namespace bebr
