// How the threads of a kernel run: on the emulated device in every way in which they may, on a GPU as they do.
#pragma once

#include <string>

#include "check.h"
#if defined(BEBR_EMULATED)
#include "emulate.h"
#endif

namespace bebr::test {

#if defined(BEBR_EMULATED)

// For messages.
inline std::string how() {
  return "order " + std::to_string(static_cast<int>(emulate::order)) + ", eager " + std::to_string(emulate::eager);
}

inline void shuffle_threads() { emulate::order = emulate::Order::Shuffled; }

// Calls fn() in each order, with copies that land early and late.
template <typename Fn>
void in_every_order(Random& random, const Fn& fn) {
  for (const emulate::Order order : {emulate::Order::Forward, emulate::Order::Backward, emulate::Order::Shuffled}) {
    emulate::order = order;
    emulate::eager = random() % 2 != 0;
    emulate::seed = random();
    fn();
  }
}

// The same, each order with both.
template <typename Fn>
void in_every_order_twice(const Fn& fn) {
  for (const bool eager : {false, true})
    for (const emulate::Order order : {emulate::Order::Forward, emulate::Order::Backward, emulate::Order::Shuffled}) {
      emulate::order = order;
      emulate::eager = eager;
      fn();
    }
}

#else

inline std::string how() { return "on a GPU"; }
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
