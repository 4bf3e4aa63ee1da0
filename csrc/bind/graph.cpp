// GraphIndex for Python (bind/module.cpp).
#include "index/graph/graph.h"

#include "bind/arrays.h"
#include "bind/raw.h"

namespace bebr {
namespace {

py::tuple search(const GraphIndex& index, const Array<float>& y, const Array<float>& base, size_t k, size_t ef,
                 const std::optional<Array<int64_t>>& allow) {
  expect_shape(y, "y", {-1, static_cast<py::ssize_t>(index.format().spec.dims())});
  const py::ssize_t n = y.shape(0);
  expect_shape(base, "base", {n});
  const Queries queries{static_cast<size_t>(n), y.data(), base.data(), nullptr, nullptr};
  GraphIndex::Search params{k, ef, allow.has_value(), {}};
  if (allow) params.allow = {allow->data(), static_cast<size_t>(allow->size())};
  py::array_t<float> scores({n, static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> ids({n, static_cast<py::ssize_t>(k)});
  {
    py::gil_scoped_release release;
    index.search(queries, params, scores.mutable_data(), ids.mutable_data());
  }
  return py::make_tuple(scores, ids);
}

std::unique_ptr<GraphIndex> make_graph(const RowFormat& format, uint32_t max_degree, uint32_t ef_construction,
                                       uint64_t seed, const Array<float>& gram, const Array<float>& mean,
                                       float mean_norm, float scale, float offset, bool augment_norm) {
  const auto dims = static_cast<py::ssize_t>(format.spec.dims());
  expect_shape(gram, "gram", {dims});
  expect_shape(mean, "mean", {dims});
  const uint32_t neighbors = max_degree / 2;  // what GraphParams and files hold
  if (max_degree % 2 || neighbors < 1 || neighbors > kMostNeighbors)
    fail(ErrorCode::InvalidArgument, "max_degree is " + std::to_string(max_degree) +
                                         ": want an even number from 2 to " + std::to_string(2 * kMostNeighbors));
  return std::make_unique<GraphIndex>(format, GraphParams{neighbors, ef_construction, seed},
                                      CodeSpace{{gram.data(), gram.data() + dims},
                                                {mean.data(), mean.data() + dims},
                                                mean_norm,
                                                scale,
                                                offset,
                                                augment_norm});
}

}  // namespace

void bind_graph(py::module_& m) {
  py::class_<GraphIndex>(m, "GraphIndex")
      .def(py::init(&make_graph), py::arg("format"), py::arg("max_degree"), py::arg("ef_construction"), py::arg("seed"),
           py::arg("gram"), py::arg("mean"), py::arg("mean_norm"), py::arg("scale"), py::arg("offset"),
           py::arg("augment_norm"))
      .def("__len__", &GraphIndex::size, kNoGil)
      .def_property_readonly("mapped", &GraphIndex::mapped)
      .def_property_readonly("format", &GraphIndex::format)
      .def_property_readonly("max_degree", [](const GraphIndex& i) { return 2 * i.params().neighbors; })
      .def_property_readonly("node_bytes", [](const GraphIndex& i) { return i.layout().stride; })
      .def_property_readonly("max_id", py::cpp_function(&GraphIndex::max_id, kNoGil))
      .def("add", &add_rows<GraphIndex>, py::arg("planes"), py::arg("factors"), py::arg("ids"))
      .def("remove", &remove_rows<GraphIndex>, py::arg("ids"))
      .def("contains", &GraphIndex::contains, py::arg("id"), kNoGil)
      .def("rows", &copy_rows<GraphIndex>, py::arg("ids") = py::none())
      .def("search", &search, py::arg("y"), py::arg("base"), py::arg("k"), py::arg("ef_search"), py::arg("allow"))
      .def("save", &save_index<GraphIndex>, py::arg("path"), py::arg("extra"), py::arg("raw") = py::none());
}

}  // namespace bebr
