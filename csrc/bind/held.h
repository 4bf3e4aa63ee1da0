// Python objects that C++ keeps, where the last pointer may end in a thread that has no GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace bebr {

// Keeps an object for as long as the pointer lives. Where it ends without the GIL, the object is let go by the next
// call of this: a thread that answers searches never waits for Python.
std::shared_ptr<const void> held(pybind11::object object);

}  // namespace bebr
