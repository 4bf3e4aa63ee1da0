// The engine's errors as Python's (docs/architecture.md, "Errors"), for every extension.
#pragma once

#include <exception>

#include "bind/arrays.h"

namespace bebr {

inline void raise_in_python(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const Error& error) {
    const auto named = [&](const char* name) {
      const py::object type = py::module_::import("bebr.errors").attr(name);
      PyErr_SetString(type.ptr(), error.what());
    };
    switch (error.code()) {
      case ErrorCode::Corrupt:
        return named("CorruptFile");
      case ErrorCode::LimitExceeded:
        return named("LimitExceeded");
      case ErrorCode::Cancelled:
        if (PyErr_Occurred() != nullptr) return;  // what the handler of a signal raised
        return named("Cancelled");
      case ErrorCode::DeviceUnavailable:
        return named("DeviceUnavailable");
      case ErrorCode::NotFound:
        return PyErr_SetString(PyExc_FileNotFoundError, error.what());
      case ErrorCode::Io:
        return PyErr_SetString(PyExc_OSError, error.what());
      case ErrorCode::UnknownId:
        return PyErr_SetString(PyExc_KeyError, error.what());
      case ErrorCode::InvalidArgument:
      case ErrorCode::ReadOnly:
        return PyErr_SetString(PyExc_ValueError, error.what());
    }
  }
}

}  // namespace bebr
