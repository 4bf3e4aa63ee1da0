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
#include "code/spec.h"
#include "index/query_batch.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

namespace py = pybind11;

// For what waits for a lock or works on rows.
using NoGil = py::call_guard<py::gil_scoped_release>;
inline const NoGil kNoGil;

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

inline py::tuple rows_to_numpy(const RowFormat& format, Rows rows) {
  const auto n = static_cast<py::ssize_t>(rows.ids.size());
  return py::make_tuple(to_numpy(std::move(rows.planes), {n, static_cast<py::ssize_t>(format.spec.row_bytes())}),
                        to_numpy(std::move(rows.factors), {n, static_cast<py::ssize_t>(format.factor_bytes())}),
                        to_numpy(std::move(rows.ids), {n}));
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

// The caller's own sections, as views of the dictionary's bytes.
inline std::vector<Section> sections_of(const std::map<std::string, py::bytes>& extra) {
  std::vector<Section> sections;
  for (const auto& [name, bytes] : extra) {
    const std::string_view view = bytes;
    sections.push_back({name, {reinterpret_cast<const uint8_t*>(view.data()), view.size()}});
  }
  return sections;
}

// Sections that nobody owns.
template <typename... Owns>
py::dict foreign_sections(const File& file, const Owns&... owns) {
  py::dict extra;
  for (const std::string& name : file.names()) {
    if ((owns(name) || ...)) continue;
    const auto bytes = file.section(name);
    extra[py::str(name)] = py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return extra;
}

inline void expect_rows(const RowFormat& format, const py::array& planes, const py::array& factors,
                        const py::array& ids) {
  const auto n = static_cast<py::ssize_t>(ids.size());
  expect_shape(ids, "ids", {-1});
  expect_shape(planes, "planes", {n, static_cast<py::ssize_t>(format.spec.row_bytes())});
  expect_shape(factors, "factors", {n, static_cast<py::ssize_t>(format.factor_bytes())});
}

template <typename Index>
void add_rows(Index& index, const Array<uint8_t>& planes, const Array<uint8_t>& factors, const Array<int64_t>& ids) {
  expect_rows(index.format(), planes, factors, ids);
  py::gil_scoped_release release;
  index.add(static_cast<size_t>(ids.size()), planes.data(), factors.data(), ids.data());
}

template <typename Index>
size_t remove_rows(Index& index, const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  py::gil_scoped_release release;
  return index.remove({ids.data(), static_cast<size_t>(ids.size())});
}

template <typename Index>
py::tuple copy_rows(const Index& index, const std::optional<Array<int64_t>>& ids) {
  Rows out;
  {
    py::gil_scoped_release release;
    out = ids ? index.rows({ids->data(), static_cast<size_t>(ids->size())}) : index.rows();
  }
  return rows_to_numpy(index.format(), std::move(out));
}

// A batch in code space, its shapes checked; views of the arrays.
inline Queries queries_of(const RowFormat& format, const Array<float>& y, const Array<float>& base,
                          const std::optional<Array<float>>& stage_y, const std::optional<Array<float>>& stage_base) {
  const auto dims = static_cast<py::ssize_t>(format.spec.dims());
  expect_shape(y, "y", {-1, dims});
  const py::ssize_t n = y.shape(0);
  expect_shape(base, "base", {n});
  Queries queries{static_cast<size_t>(n), y.data(), base.data(), nullptr, nullptr};
  if (stage_y && stage_base) {
    expect_shape(*stage_y, "stage_y", {n, dims});
    expect_shape(*stage_base, "stage_base", {n});
    queries.stage_y = stage_y->data();
    queries.stage_base = stage_base->data();
  }
  return queries;
}

// (offsets, scores, ids): those of query i stand between offsets i and i + 1.
inline py::tuple ragged(const std::vector<std::vector<Hit>>& hits) {
  std::vector<int64_t> offsets = {0}, ids;
  std::vector<float> scores;
  for (const auto& row : hits) {
    for (const Hit& hit : row) {
      scores.push_back(hit.score);
      ids.push_back(hit.id);
    }
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  const auto n = static_cast<py::ssize_t>(ids.size()), rows = static_cast<py::ssize_t>(offsets.size());
  return py::make_tuple(to_numpy(std::move(offsets), {rows}), to_numpy(std::move(scores), {n}),
                        to_numpy(std::move(ids), {n}));
}

void bind_flat(py::module_& m);
void bind_ivf(py::module_& m);
void bind_build(py::module_& m);
void bind_graph(py::module_& m);
void bind_raw(py::module_& m);

}  // namespace bebr
