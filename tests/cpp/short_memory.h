// Memory that runs out: the n-th allocation from here on fails. The test binary is linked with --wrap for operator new
// and aligned_alloc (CMakeLists.txt), so the engine needs no hook.
#pragma once

#include <cstddef>

namespace bebr::test {

// While it lives, allocation number `fails_at` of this process (0: the next one) throws std::bad_alloc, once.
class ShortMemory {
 public:
  explicit ShortMemory(size_t fails_at);
  ~ShortMemory();
  bool failed() const;
};

}  // namespace bebr::test
