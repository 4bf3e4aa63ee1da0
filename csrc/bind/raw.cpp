// RawVectors for Python (bind/module.cpp).
#include "bind/raw.h"

namespace bebr {

RawType raw_type_of(const std::string& name) {
  if (name == "float16") return RawType::Float16;
  if (name == "int8") return RawType::Int8;
  fail(ErrorCode::InvalidArgument, "raw vectors of type '" + name + "': want float16 or int8");
}

namespace {

std::span<const int64_t> span_of(const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  return {ids.data(), static_cast<size_t>(ids.size())};
}

void add(RawVectors& raw, const Array<float>& x, const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  expect_shape(x, "x", {ids.shape(0), static_cast<py::ssize_t>(raw.format().dim)});
  py::gil_scoped_release release;
  raw.add(static_cast<size_t>(ids.size()), x.data(), ids.data());
}

py::array values(const RawVectors& raw, const Array<int64_t>& ids) {
  const std::span<const int64_t> wanted = span_of(ids);
  std::vector<float> x;
  {
    py::gil_scoped_release release;
    x = raw.values(wanted);
  }
  return to_numpy(std::move(x), {ids.shape(0), static_cast<py::ssize_t>(raw.format().dim)});
}

py::tuple rescore(const RawVectors& raw, const Array<float>& queries, const Array<int64_t>& candidates, size_t k,
                  bool squared_distance) {
  expect_shape(queries, "queries", {-1, static_cast<py::ssize_t>(raw.format().dim)});
  const py::ssize_t n = queries.shape(0);
  expect_shape(candidates, "candidates", {n, -1});
  const RescoreParams params{static_cast<size_t>(candidates.shape(1)), k, squared_distance};
  py::array_t<float> scores({n, static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> ids({n, static_cast<py::ssize_t>(k)});
  float* scores_out = scores.mutable_data();
  int64_t* ids_out = ids.mutable_data();
  {
    py::gil_scoped_release release;
    raw.rescore(queries.data(), static_cast<size_t>(n), candidates.data(), params, scores_out, ids_out);
  }
  return py::make_tuple(scores, ids);
}

}  // namespace

void bind_raw(py::module_& m) {
  py::class_<RawVectors>(m, "RawVectors")
      .def(py::init([](uint32_t dim, const std::string& type) {
             return std::make_unique<RawVectors>(RawFormat{dim, raw_type_of(type)});
           }),
           py::arg("dim"), py::arg("type"))
      .def("__len__", &RawVectors::size, kNoGil)
      .def_property_readonly("mapped", &RawVectors::mapped)
      .def_property_readonly("dim", [](const RawVectors& raw) { return raw.format().dim; })
      .def_property_readonly(
          "type", [](const RawVectors& raw) { return raw.format().type == RawType::Int8 ? "int8" : "float16"; })
      .def_property_readonly("row_bytes", [](const RawVectors& raw) { return raw.format().stride(); })
      .def("add", &add, py::arg("x"), py::arg("ids"))
      .def(
          "remove",
          [](RawVectors& raw, const Array<int64_t>& ids) {
            const std::span<const int64_t> gone = span_of(ids);
            py::gil_scoped_release release;
            return raw.remove(gone);
          },
          py::arg("ids"))
      .def("values", &values, py::arg("ids"))
      .def("rescore", &rescore, py::arg("queries"), py::arg("candidates"), py::arg("k"), py::arg("squared_distance"));
}

}  // namespace bebr
