// Long work that may be given up: who begins it says how to ask, and its loops ask between pieces.
#pragma once

namespace bebr {

// While it lives, check_interrupt() in this thread asks `wanted`, 20 times a second at most. Null: nobody.
class Interruptible {
 public:
  using Asked = bool (*)();
  explicit Interruptible(Asked wanted) noexcept;
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  Asked before_;
};

// Throws Error(Cancelled) where this thread's work is to be given up. Other threads of a parallel_for end after the
// pieces that they are at.
void check_interrupt();

}  // namespace bebr
