// The check of vectors that every search begins with, where it is soon done: bebr.arrays.
#include "bind/vectors.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "bind/arrays.h"

namespace bebr {
namespace {

// Numbers up to here are looked at; of more the same is done faster by numpy, which looks at whole rows.
constexpr py::ssize_t kMost = 8192;

bool finite(const float* values, size_t count) noexcept {
  uint32_t largest = 0;  // as integers their sizes compare alike, infinity and NaN above all others
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu);
  return largest < 0x7F800000u;
}

// x as float32[n, dim], sharing its memory, where it is a plain array float32 [dim] or [n, dim] in C order whose few
// numbers are finite; else None, and Python has the words for what it is.
py::object few_vectors(const py::handle& x, py::ssize_t dim) {
  if (Py_TYPE(x.ptr()) != reinterpret_cast<PyTypeObject*>(py::detail::npy_api::get().PyArray_Type_)) return py::none();
  const auto array = py::reinterpret_borrow<py::array>(x);
  const py::ssize_t ndim = array.ndim(), count = array.size();
  constexpr int kLaid = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
  if (ndim < 1 || ndim > 2 || count == 0 || count > kMost || array.shape(ndim - 1) != dim ||
      (array.flags() & kLaid) != kLaid || !py::isinstance<py::array_t<float>>(array) ||
      !finite(static_cast<const float*>(array.data()), static_cast<size_t>(count)))
    return py::none();
  if (ndim == 2) return array;
  constexpr auto kBytes = static_cast<py::ssize_t>(sizeof(float));
  return py::array(py::dtype::of<float>(), {py::ssize_t{1}, dim}, {dim * kBytes, kBytes}, array.data(), array);
}

}  // namespace

void bind_vectors(py::module_& m) { m.def("few_vectors", &few_vectors, py::arg("x"), py::arg("dim")); }

}  // namespace bebr
