// RawVectors for Python (bind/module.cpp).
#include "bind/raw.h"

#include <cstring>

#include "base/threads.h"

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
  GilRelease release;
  raw.add(static_cast<size_t>(ids.size()), x.data(), ids.data());
}

py::array values(const RawVectors& raw, const Array<int64_t>& ids) {
  const std::span<const int64_t> wanted = span_of(ids);
  std::vector<float> x;
  {
    GilRelease release;
    x = raw.values(wanted);
  }
  return to_numpy(std::move(x), {ids.shape(0), static_cast<py::ssize_t>(raw.format().dim)});
}

// What is stored of these ids, of vectors that nobody changes.
py::array_t<uint8_t> stored(const RawVectors& raw, const Array<int64_t>& ids) {
  const std::span<const int64_t> wanted = span_of(ids);
  const size_t stride = raw.format().stride();
  py::array_t<uint8_t> rows({ids.shape(0), static_cast<py::ssize_t>(stride)});
  uint8_t* out = rows.mutable_data();
  const NoGilFor release(ids.shape(0));
  for (size_t i = 0; i < wanted.size(); ++i) {
    uint32_t at = 0;
    if (!raw.find(wanted[i], at))
      fail(ErrorCode::UnknownId, "id " + std::to_string(wanted[i]) + " is not in this index");
    std::memcpy(out + i * stride, raw.rows() + at * stride, stride);
  }
  return rows;
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
    GilRelease release;
    raw.rescore(queries.data(), static_cast<size_t>(n), candidates.data(), params, scores_out, ids_out);
  }
  return py::make_tuple(scores, ids);
}

// --- rows as bytes, in arrays of the caller
RawFormat format_of_rows(const Array<uint8_t>& rows, const std::string& type) {
  expect_shape(rows, "rows", {-1, -1});
  const RawType kind = raw_type_of(type);
  const auto stride = static_cast<size_t>(rows.shape(1)), head = RawFormat{0, kind}.head();
  const size_t size = kind == RawType::Int8 ? 1 : 2;
  if (stride <= head || (stride - head) % size != 0)
    fail(ErrorCode::InvalidArgument, "rows has shape " + shape_text(rows) + ": no vector of type " + type);
  return {static_cast<uint32_t>((stride - head) / size), kind};
}

py::array_t<uint8_t> store(const Array<float>& x, const std::string& type) {
  expect_shape(x, "x", {-1, -1});
  const RawFormat format{static_cast<uint32_t>(x.shape(1)), raw_type_of(type)};
  py::array_t<uint8_t> rows({x.shape(0), static_cast<py::ssize_t>(format.stride())});
  uint8_t* out = rows.mutable_data();
  const NoGilFor release(x.shape(0));
  store_raw(format, static_cast<size_t>(x.shape(0)), x.data(), out);
  return rows;
}

py::array_t<float> load(const Array<uint8_t>& rows, const std::string& type) {
  const RawFormat format = format_of_rows(rows, type);
  py::array_t<float> x({rows.shape(0), static_cast<py::ssize_t>(format.dim)});
  float* out = x.mutable_data();
  const NoGilFor release(rows.shape(0));
  load_raw(format, static_cast<size_t>(rows.shape(0)), rows.data(), out);
  return x;
}

void expect_rows(const int64_t* which, size_t n, py::ssize_t rows, int64_t least) {
  for (size_t i = 0; i < n; ++i)
    if (which[i] < least || which[i] >= rows)
      fail(ErrorCode::InvalidArgument,
           "which holds " + std::to_string(which[i]) + ": there are " + std::to_string(rows) + " rows");
}

py::array_t<uint8_t> take(const Array<uint8_t>& rows, const Array<int64_t>& which) {
  expect_shape(rows, "rows", {-1, -1});
  const std::span<const int64_t> wanted = span_of(which);
  expect_rows(wanted.data(), wanted.size(), rows.shape(0), 0);
  py::array_t<uint8_t> taken({which.shape(0), rows.shape(1)});
  uint8_t* out = taken.mutable_data();
  const GilRelease release;
  take_rows(rows.data(), static_cast<size_t>(rows.shape(1)), wanted.data(), wanted.size(), out);
  return taken;
}

// The k best of the rows at each query's line of `which` (-1: none), whose ids are those of `ids`, by exact scores.
py::tuple best(const Array<uint8_t>& rows, const std::string& type, const Array<int64_t>& ids,
               const Array<float>& queries, const Array<int64_t>& which, size_t k, bool squared_distance) {
  const RawFormat format = format_of_rows(rows, type);
  expect_shape(ids, "ids", {rows.shape(0)});
  expect_shape(queries, "queries", {-1, static_cast<py::ssize_t>(format.dim)});
  expect_shape(which, "which", {queries.shape(0), -1});
  const auto n = static_cast<size_t>(which.shape(0)), each = static_cast<size_t>(which.shape(1));
  const int64_t* at = which.data();
  expect_rows(at, n * each, rows.shape(0), -1);
  py::array_t<float> best_scores({which.shape(0), static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> best_ids({which.shape(0), static_cast<py::ssize_t>(k)});
  float* scores_out = best_scores.mutable_data();
  int64_t* ids_out = best_ids.mutable_data();
  {
    const GilRelease release;
    parallel_for(n, 1, [&](size_t begin, size_t end) {
      RawScores exact(format, squared_distance);
      std::vector<uint32_t> there;
      for (size_t i = begin; i < end; ++i) {
        there.clear();
        for (size_t j = 0; j < each; ++j)
          if (at[i * each + j] >= 0) there.push_back(static_cast<uint32_t>(at[i * each + j]));
        exact.best(queries.data() + i * format.dim, rows.data(), there, ids.data(), k, scores_out + i * k,
                   ids_out + i * k);
      }
    });
  }
  return py::make_tuple(best_scores, best_ids);
}

}  // namespace

void bind_raw(py::module_& m) {
  m.def("store_raw", &store, py::arg("x"), py::arg("type"));
  m.def("load_raw", &load, py::arg("rows"), py::arg("type"));
  m.def("take_rows", &take, py::arg("rows"), py::arg("which"));
  m.def("raw_best", &best, py::arg("rows"), py::arg("type"), py::arg("ids"), py::arg("queries"), py::arg("which"),
        py::arg("k"), py::arg("squared_distance"));
  py::class_<RawVectors, std::shared_ptr<RawVectors>>(m, "RawVectors")
      .def(py::init([](uint32_t dim, const std::string& type) {
             return std::make_shared<RawVectors>(RawFormat{dim, raw_type_of(type)});
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
            GilRelease release;
            return raw.remove(gone);
          },
          py::arg("ids"))
      .def("values", &values, py::arg("ids"))
      .def("stored", &stored, py::arg("ids"))
      .def("rescore", &rescore, py::arg("queries"), py::arg("candidates"), py::arg("k"), py::arg("squared_distance"));
}

}  // namespace bebr
