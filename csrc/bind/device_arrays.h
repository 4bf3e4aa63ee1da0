// Arrays of other libraries in a device's memory: torch, cupy and numba by __cuda_array_interface__, JAX by DLPack.
#pragma once

#include "bind/arrays.h"
#include "cuda/vectors.h"

namespace bebr {

// x as rows of `dim` entries on this device, read where they lie once what its library still does with them has ended.
// They are valid for as long as `keep` lives. Throws Error(InvalidArgument) that says what x, called `name`, has and
// what is wanted.
cuda::Vectors vectors_on_device(const py::object& x, const char* name, size_t device, uint32_t dim, py::object& keep);

}  // namespace bebr
