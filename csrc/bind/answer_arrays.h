// Answers on a device as other libraries read them where they lie: by __cuda_array_interface__ (torch, cupy, numba) or
// DLPack (JAX too).
#pragma once

#include "bind/arrays.h"
#include "cuda/answers.h"

namespace bebr {

// (scores, ids), both [n, k]. Their memory lives as long as they, or what another library made of them.
py::tuple shown(cuda::DeviceAnswers answers, size_t device, py::ssize_t n, py::ssize_t k);

void bind_answer_arrays(py::module_& m);

}  // namespace bebr
