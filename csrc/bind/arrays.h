// What the files of the binding share: numpy arrays in and out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "bind/gil.h"
#include "code/spec.h"
#include "index/rows.h"

namespace bebr {

namespace py = pybind11;

// For what waits for a lock or works on rows.
using NoGil = py::call_guard<GilRelease>;
inline const NoGil kNoGil;

// The same for work on `rows` rows: that on a few is over sooner than the GIL would be had again.
class NoGilFor {
 public:
  static constexpr py::ssize_t kMany = 5;
  explicit NoGilFor(py::ssize_t rows) {
    if (rows >= kMany) release_.emplace();
  }

 private:
  std::optional<GilRelease> release_;
};

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

inline std::string shape_text(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) text += (i > 0 ? ", " : "") + std::to_string(a.shape(i));
  return text + ")";
}

inline void expect_shape(const py::array& a, const char* name, std::vector<py::ssize_t> want) {
  bool same = a.ndim() == static_cast<py::ssize_t>(want.size());
  for (size_t i = 0; same && i < want.size(); ++i)
    same = want[i] < 0 || a.shape(static_cast<py::ssize_t>(i)) == want[i];
  if (same) return;
  std::string text = "(";
  for (size_t i = 0; i < want.size(); ++i)
    text += (i > 0 ? ", " : "") + (want[i] < 0 ? std::string("n") : std::to_string(want[i]));
  fail(ErrorCode::InvalidArgument, std::string(name) + " has shape " + shape_text(a) + ": want " + text + ")");
}

// A vector handed to Python without a copy.
template <typename T>
py::array to_numpy(std::vector<T> values, std::vector<py::ssize_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  py::capsule owner(kept, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(std::move(shape), kept->data(), owner);
}

inline CodeSpec spec_of(const std::vector<uint32_t>& widths) { return CodeSpec::make(widths); }
inline std::vector<uint32_t> widths_of(const CodeSpec& spec) { return {spec.widths, spec.widths + spec.planes}; }

inline Factor factor_of(const std::string& name) {
  if (name == "none") return Factor::None;
  if (name == "mul") return Factor::Mul;
  if (name == "sub") return Factor::Sub;
  fail(ErrorCode::InvalidArgument, "factor is '" + name + "': want none, mul or sub");
}

using PyFactorCode = std::pair<uint32_t, uint32_t>;  // low, step

inline RowFormat format_of(const std::vector<uint32_t>& widths, const std::string& factor, bool stage_factor,
                           uint32_t factor_bytes, PyFactorCode code, PyFactorCode stage_code) {
  return {spec_of(widths), factor_of(factor), stage_factor, FactorCode::make(factor_bytes, code.first, code.second),
          FactorCode::make(factor_bytes, stage_code.first, stage_code.second)};
}

// A view of what `owner` keeps.
template <typename T, typename Owner>
py::array read_only(std::span<const T> values, std::shared_ptr<Owner> owner) {
  auto* kept = new std::shared_ptr<Owner>(std::move(owner));
  py::capsule capsule(kept, [](void* p) { delete static_cast<std::shared_ptr<Owner>*>(p); });
  py::array_t<T> view(static_cast<py::ssize_t>(values.size()), values.data(), capsule);
  view.attr("flags").attr("writeable") = false;
  return view;
}

using PySections = std::map<std::string, py::buffer>;

// The caller's own sections, and what keeps their bytes where they are.
struct HeldSections {
  explicit HeldSections(const PySections& extra) {
    for (const auto& [name, bytes] : extra) {
      const py::buffer_info& info = held.emplace_back(bytes.request());
      sections.push_back(
          {name, {static_cast<const uint8_t*>(info.ptr), static_cast<size_t>(info.size * info.itemsize)}});
    }
  }
  std::vector<py::buffer_info> held;
  std::vector<Section> sections;
};

class Centroids;
// The nearest list of each row of x (bind/build.cpp).
py::array_t<uint32_t> assigned(const Centroids& centroids, const Array<float>& x, bool roughly);

void bind_build(py::module_& m);
void bind_collection(py::module_& m);
void bind_index(py::module_& m);
void bind_messages(py::module_& m);
void bind_payload(py::module_& m);
void bind_raw(py::module_& m);
void bind_search(py::module_& m);

}  // namespace bebr
