#include "base/scratch.h"

#include <pthread.h>

#include <atomic>

namespace bebr {

// The child of a fork gets its own shelf: a thread that does not exist in the child may hold the lock of the parent's.
Scratch::Shelf& Scratch::shelf() {
  static std::atomic<Shelf*> current{new Shelf};
  static const int hooked = pthread_atfork(nullptr, nullptr, [] { current = new Shelf; });
  static_cast<void>(hooked);
  return *current;
}

}  // namespace bebr
