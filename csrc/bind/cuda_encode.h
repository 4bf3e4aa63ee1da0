// Encoding and lists on a device: a part of bebr._cuda (bind/cuda.cpp).
#pragma once

#include <pybind11/pybind11.h>

namespace bebr {

void bind_cuda_encode(pybind11::module_& m);

}  // namespace bebr
