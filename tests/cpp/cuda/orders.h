// How the threads of a kernel run: on the emulated device in every way in which they may, on a GPU as they do.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

#include "check.h"
#include "cuda/memory.h"
#if defined(BEBR_EMULATED)
#include "emulate.h"
#endif

namespace bebr::test {

// How many shapes were compared with the specification, each order of threads counted; said when the program ends.
struct Cases {
  Cases() = default;
  Cases(const Cases&) = delete;
  Cases& operator=(const Cases&) = delete;
  ~Cases() {
    if (count != 0) std::printf("%zu cases equal the specification\n", count);
  }

  size_t count = 0;
};
inline Cases cases;

#if defined(BEBR_EMULATED)

// For messages.
inline std::string how() {
  return "order " + std::to_string(static_cast<int>(emulate::order)) + ", eager " + std::to_string(emulate::eager) +
         ", eager products " + std::to_string(emulate::eager_products);
}

inline void shuffle_threads() { emulate::order = emulate::Order::Shuffled; }

// Calls fn() in each order, with copies that land and products that end early and late.
template <typename Fn>
void in_every_order(Random& random, const Fn& fn) {
  for (const emulate::Order order : {emulate::Order::Forward, emulate::Order::Backward, emulate::Order::Shuffled}) {
    emulate::order = order;
    emulate::eager = random() % 2 != 0;
    emulate::seed = random();
    emulate::eager_products = emulate::seed % 2 != 0;
    fn();
  }
}

// The same, each order with both; products end late where copies land early, and the other way round, but backwards.
template <typename Fn>
void in_every_order_twice(const Fn& fn) {
  for (const bool eager : {false, true})
    for (const emulate::Order order : {emulate::Order::Forward, emulate::Order::Backward, emulate::Order::Shuffled}) {
      emulate::order = order;
      emulate::eager = eager;
      emulate::eager_products = eager == (order == emulate::Order::Backward);
      fn();
    }
}

inline bool can_run_wgmma() { return true; }

#else

inline std::string how() { return "on a GPU"; }
// Said aloud where it cannot.
inline bool can_run_wgmma() {
  if (!cuda::has_wgmma()) std::puts("skipped: the device has no wgmma");
  return cuda::has_wgmma();
}
inline void shuffle_threads() {}

template <typename Fn>
void in_every_order(Random&, const Fn& fn) {
  fn();
}

template <typename Fn>
void in_every_order_twice(const Fn& fn) {
  fn();
}

#endif

}  // namespace bebr::test
