#include "base/scratch.h"

#include <pthread.h>

#include <atomic>

namespace bebr {

// The child of a fork has a shelf of its own: a thread that is not there may hold the lock of the parent's.
Scratch::Shelf& Scratch::shelf() {
  static std::atomic<Shelf*> current{new Shelf};
  static const int hooked = pthread_atfork(nullptr, nullptr, [] { current = new Shelf; });
  static_cast<void>(hooked);
  return *current;
}

}  // namespace bebr
