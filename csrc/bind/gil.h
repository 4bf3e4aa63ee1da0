// The GIL given back while the extension works, also where the program ends meanwhile.
#pragma once

#include <pybind11/pybind11.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#include <unistd.h>
#endif

namespace bebr {

// While it lives, this thread is without the GIL. As pybind11's gil_scoped_release, but for the end of the program: to
// daemon threads that want the GIL then, Python up to 3.13 gives the end of the thread instead, which glibc unwinds,
// and no destructor may be unwound through: the program ended by abort(). Such a thread sleeps instead, as from 3.14
// on.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
#if defined(__GLIBCXX__)
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      for (;;) ::pause();  // left, it would have to be thrown on
    }
#else
    PyEval_RestoreThread(state_);
#endif
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace bebr
