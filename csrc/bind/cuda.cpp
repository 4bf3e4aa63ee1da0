// bebr._cuda: devices for Python. An extension of its own, for it is loaded when a device is first asked for. The same
// source makes bebr._emulated, whose device is the CPU, for tests.
#include <algorithm>
#include <numeric>
#include <optional>
#include <tuple>

#include "base/threads.h"
#include "bind/answer_arrays.h"
#include "bind/arrays.h"
#include "bind/cuda_encode.h"
#include "bind/errors.h"
#include "cuda/row_search.h"

#if defined(BEBR_EMULATED)
#define BEBR_MODULE _emulated
#else
#define BEBR_MODULE _cuda
#endif

using namespace bebr;

namespace {

std::unique_ptr<cuda::RowSearch> make(size_t device, const RowFormat& format, const Array<size_t>& sizes,
                                      const Array<uint8_t>& planes, const Array<uint8_t>& factors,
                                      const Array<int64_t>& ids, std::optional<size_t> most, const std::string& kind) {
  expect_shape(sizes, "sizes", {-1});
  expect_shape(ids, "ids", {-1});
  expect_shape(planes, "planes", {ids.size(), static_cast<py::ssize_t>(format.spec.row_bytes())});
  expect_shape(factors, "factors", {ids.size(), static_cast<py::ssize_t>(format.factor_bytes())});
  const std::span<const size_t> parts(sizes.data(), static_cast<size_t>(sizes.size()));
  if (std::accumulate(parts.begin(), parts.end(), size_t{0}) != static_cast<size_t>(ids.size()))
    fail(ErrorCode::InvalidArgument, "sizes do not add up to the " + std::to_string(ids.size()) + " rows");
  const cuda::RowArrays rows{parts, planes.data(), factors.data(), ids.data()};
  cuda::Residency residency;
  residency.most = most.value_or(residency.most);
  if (kind == "whole")
    residency.kind = cuda::Residency::Whole;
  else if (kind == "sign")
    residency.kind = cuda::Residency::Signs;
  else if (kind != "any")
    fail(ErrorCode::InvalidArgument, "kind is '" + kind + "': want any, whole or sign");
  const GilRelease release;
  return std::make_unique<cuda::RowSearch>(device, format, rows, cuda::SearchLimits{}, residency);
}

using PyParts = std::pair<Array<uint32_t>, Array<uint32_t>>;

cuda::PartsOfQueries parts_of(const PyParts& parts, py::ssize_t queries, size_t all) {
  const auto& [begin, looked] = parts;
  expect_shape(begin, "begin", {queries + 1});
  expect_shape(looked, "parts", {-1});
  const std::span<const uint32_t> at(begin.data(), static_cast<size_t>(begin.size()));
  const std::span<const uint32_t> numbers(looked.data(), static_cast<size_t>(looked.size()));
  if (at.front() != 0 || at.back() != numbers.size() || !std::is_sorted(at.begin(), at.end()))
    fail(ErrorCode::InvalidArgument, "begin does not divide the " + std::to_string(numbers.size()) + " parts");
  for (const uint32_t part : numbers)
    if (part >= all)
      fail(ErrorCode::InvalidArgument, "parts has " + std::to_string(part) + ": there are " + std::to_string(all));
  return {begin.data(), looked.data()};
}

// Checked arguments of a search, for as long as the arrays live.
cuda::Asked asked_of(const cuda::RowSearch& index, const Array<float>& y, const Array<float>& base, size_t k,
                     const std::optional<PyParts>& parts, const std::optional<Array<float>>& min_scores,
                     const std::optional<Array<bool>>& allow) {
  expect_shape(y, "y", {-1, static_cast<py::ssize_t>(index.rows().format().spec.dims())});
  const py::ssize_t n = y.shape(0);
  expect_shape(base, "base", {n});
  if (min_scores) expect_shape(*min_scores, "min_scores", {n});
  if (allow) expect_shape(*allow, "allow", {static_cast<py::ssize_t>(index.rows().size())});
  cuda::Asked asked;
  asked.queries.count = static_cast<size_t>(n);
  asked.queries.y = y.data();
  asked.queries.base = base.data();
  asked.k = k;
  if (parts) asked.parts = parts_of(*parts, n, index.rows().parts());
  if (min_scores) asked.min_scores = min_scores->data();
  if (allow) asked.allow = allow->data();
  return asked;
}

py::tuple search(const cuda::RowSearch& index, const Array<float>& y, const Array<float>& base, size_t k,
                 const std::optional<PyParts>& parts, const std::optional<Array<float>>& min_scores,
                 const std::optional<Array<bool>>& allow) {
  const cuda::Asked asked = asked_of(index, y, base, k, parts, min_scores, allow);
  py::array_t<float> scores({y.shape(0), static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> ids({y.shape(0), static_cast<py::ssize_t>(k)});
  float* scores_out = scores.mutable_data();
  int64_t* ids_out = ids.mutable_data();
  {
    const GilRelease release;
    index.search(asked, scores_out, ids_out);
  }
  return py::make_tuple(scores, ids);
}

// offset [n] and scale: of l2, distances; none: scores. calibration: factor and summand.
py::tuple search_there(const cuda::RowSearch& index, const Array<float>& y, const Array<float>& base, size_t k,
                       const std::optional<PyParts>& parts, const std::optional<Array<float>>& min_scores,
                       const std::optional<Array<bool>>& allow, const std::optional<Array<float>>& offset, float scale,
                       const std::optional<std::pair<float, float>>& calibration, const std::optional<float>& radius) {
  const cuda::Asked asked = asked_of(index, y, base, k, parts, min_scores, allow);
  cuda::Unit unit;
  if (offset) {
    expect_shape(*offset, "offset", {y.shape(0)});
    unit.distance = true;
    unit.offset = offset->data();
    unit.scale = scale;
  }
  if (calibration) {
    unit.calibrated = true;
    std::tie(unit.factor, unit.summand) = *calibration;
  }
  unit.limited = radius.has_value();
  unit.radius = radius.value_or(0);
  cuda::DeviceAnswers answers;
  {
    const GilRelease release;
    answers = index.search_there(asked, unit);
  }
  return shown(std::move(answers), index.device(), y.shape(0), static_cast<py::ssize_t>(k));
}

}  // namespace

PYBIND11_MODULE(BEBR_MODULE, m) {
  m.doc() = "Indexes on a device. Use the bebr package, which checks and documents.";
  py::register_local_exception_translator(&raise_in_python);
  set_num_threads(1);  // of this extension's own pool: the device does the work
  m.def("status", [] {
    const cuda::Status found = cuda::status();
    return py::make_tuple(found.devices, found.why);
  });
  m.def("memory_left", [](size_t device) {
    const cuda::OnDevice there(device);
    return cuda::free_memory();
  });
#if defined(BEBR_EMULATED)
  m.def("set_memory", &cuda::set_memory, py::arg("bytes"));
  m.def("set_pinned", &cuda::set_pinned, py::arg("bytes"));
  m.def("set_wgmma", &cuda::set_wgmma, py::arg("has"));
  m.def("products_by_wgmma", &cuda::products_by_wgmma);
#endif
  py::class_<RowFormat>(m, "RowFormat", py::module_local())
      .def(py::init(&format_of), py::arg("widths"), py::arg("factor"), py::arg("stage_factor"), py::arg("factor_bytes"),
           py::arg("code") = PyFactorCode{0, 1}, py::arg("stage_code") = PyFactorCode{0, 1});
  py::class_<cuda::RowSearch>(m, "Rows", py::module_local())
      .def(py::init(&make), py::arg("device"), py::arg("format"), py::arg("sizes"), py::arg("planes"),
           py::arg("factors"), py::arg("ids"), py::arg("most") = py::none(), py::arg("kind") = "any")
      .def("__len__", [](const cuda::RowSearch& index) { return index.rows().size(); })
      .def_property_readonly("bytes", [](const cuda::RowSearch& index) { return index.rows().bytes(); })
      .def_property_readonly("resident", [](const cuda::RowSearch& index) { return index.rows().resident(); })
      .def("search", &search, py::arg("y"), py::arg("base"), py::arg("k"), py::arg("parts") = py::none(),
           py::arg("min_scores") = py::none(), py::arg("allow") = py::none())
      .def("search_there", &search_there, py::arg("y"), py::arg("base"), py::arg("k"), py::arg("parts"),
           py::arg("min_scores"), py::arg("allow"), py::arg("offset"), py::arg("scale"), py::arg("calibration"),
           py::arg("radius"));
  bind_answer_arrays(m);
  bind_cuda_encode(m);
}
