// Ctrl-C ends long work: searches, encoding, and adding to a graph.
#pragma once

#include <pybind11/pybind11.h>

#include <thread>

#include "base/interrupt.h"

namespace bebr {

// Python runs the handlers of signals in its main thread alone, which is taken to be the one that imports this.
inline const std::thread::id kImporting = std::this_thread::get_id();

// While it lives, check_interrupt() asks Python whether the handler of a signal raised. The exception stays Python's
// (raise_in_python): KeyboardInterrupt, as a rule. Whoever waits for a lock of the work must not hold the GIL.
class EndedBySignals {
 public:
  EndedBySignals() : asking_(std::this_thread::get_id() == kImporting ? &raised : nullptr) {}

 private:
  static bool raised() {
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool is_raised = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return is_raised;
  }

  Interruptible asking_;
};

}  // namespace bebr
