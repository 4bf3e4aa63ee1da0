// Checks of vectors from outside.
#pragma once

#include <pybind11/pybind11.h>

namespace bebr {

void bind_vectors(pybind11::module_& m);

}  // namespace bebr
