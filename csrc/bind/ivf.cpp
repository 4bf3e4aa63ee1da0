// IvfIndex for Python (bind/module.cpp).
#include "index/ivf/ivf.h"

#include <limits>
#include <optional>

#include "bind/raw.h"

namespace bebr {
namespace {

using Vectors = Array<float>;

void expect_vectors(const IvfIndex& index, const Vectors& x, const char* name, py::ssize_t n) {
  expect_shape(x, name, {n, static_cast<py::ssize_t>(index.centroids().dim())});
}

void add(IvfIndex& index, const Array<uint8_t>& planes, const Array<uint8_t>& factors, const Array<int64_t>& ids,
         const Array<uint32_t>& lists) {
  const auto n = static_cast<py::ssize_t>(ids.size());
  expect_shape(ids, "ids", {-1});
  expect_shape(lists, "lists", {n});
  expect_shape(planes, "planes", {n, static_cast<py::ssize_t>(index.format().spec.row_bytes())});
  expect_shape(factors, "factors", {n, static_cast<py::ssize_t>(index.format().factor_bytes())});
  py::gil_scoped_release release;
  index.add(static_cast<size_t>(n), planes.data(), factors.data(), ids.data(), lists.data());
}

py::array_t<uint32_t> assign(const Centroids& centroids, const Vectors& x) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(centroids.dim())});
  py::array_t<uint32_t> lists(x.shape(0));
  uint32_t* out = lists.mutable_data();
  const float* from = x.data();
  const auto n = static_cast<size_t>(x.shape(0));
  py::gil_scoped_release release;
  centroids.assign(from, n, out);
  return lists;
}

struct PyQueries {
  const Array<float>&y, &base;
  const std::optional<Array<float>>&stage_y, &stage_base;
  const Vectors& vectors;
};

// run: IvfIndex::search or IvfIndex::range.
template <typename Run>
std::vector<std::vector<Hit>> hits_of(const IvfIndex& index, const PyQueries& q, IvfParams params,
                                      const std::optional<Array<int64_t>>& allow,
                                      const std::optional<Array<float>>& min_scores, const Run& run) {
  const Queries queries = queries_of(index.format(), q.y, q.base, q.stage_y, q.stage_base);
  const py::ssize_t n = q.y.shape(0);
  expect_vectors(index, q.vectors, "vectors", n);
  if (allow) {
    params.filtered = true;
    params.allow = {allow->data(), static_cast<size_t>(allow->size())};
  }
  if (min_scores) {
    expect_shape(*min_scores, "min_scores", {n});
    params.min_scores = min_scores->data();
  }
  std::vector<std::vector<Hit>> hits;
  py::gil_scoped_release release;
  (index.*run)(queries, q.vectors.data(), params, hits);
  return hits;
}

py::tuple search(const IvfIndex& index, const Array<float>& y, const Array<float>& base,
                 const std::optional<Array<float>>& stage_y, const std::optional<Array<float>>& stage_base,
                 const Vectors& vectors, size_t k, size_t enough, size_t probes, float margin,
                 const std::optional<Array<int64_t>>& allow, const std::optional<Array<float>>& min_scores) {
  const auto hits =
      hits_of(index, {y, base, stage_y, stage_base, vectors}, IvfParams{k, enough, probes, margin, nullptr, false, {}},
              allow, min_scores, &IvfIndex::search);
  py::array_t<float> scores({y.shape(0), static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> ids({y.shape(0), static_cast<py::ssize_t>(k)});
  for (size_t q = 0; q < hits.size(); ++q) {
    float* score = scores.mutable_data() + q * k;
    int64_t* id = ids.mutable_data() + q * k;
    for (size_t i = 0; i < k; ++i) {
      score[i] = i < hits[q].size() ? hits[q][i].score : -std::numeric_limits<float>::infinity();
      id[i] = i < hits[q].size() ? hits[q][i].id : -1;
    }
  }
  return py::make_tuple(scores, ids);
}

py::tuple range(const IvfIndex& index, const Array<float>& y, const Array<float>& base,
                const std::optional<Array<float>>& stage_y, const std::optional<Array<float>>& stage_base,
                const Vectors& vectors, size_t probes, float margin, const std::optional<Array<int64_t>>& allow,
                const Array<float>& min_scores) {
  return ragged(hits_of(index, {y, base, stage_y, stage_base, vectors},
                        IvfParams{1, 1, probes, margin, nullptr, false, {}}, allow, min_scores, &IvfIndex::range));
}

}  // namespace

void bind_ivf(py::module_& m) {
  py::class_<Centroids>(m, "Centroids")
      .def(py::init([](const Array<float>& values) {
             expect_shape(values, "values", {-1, -1});
             return std::make_unique<Centroids>(static_cast<uint32_t>(values.shape(1)),
                                                static_cast<size_t>(values.shape(0)), values.data(), false);
           }),
           py::arg("values"))
      .def(
          "assign", [](const Centroids& centroids, const Array<float>& x) { return assign(centroids, x); },
          py::arg("x"));
  py::class_<IvfIndex>(m, "IvfIndex")
      .def(py::init([](const RowFormat& format, const Array<float>& centroids, bool by_product) {
             expect_shape(centroids, "centroids", {-1, -1});
             if (centroids.shape(0) < 1 || centroids.shape(1) < 1)
               fail(ErrorCode::InvalidArgument, "centroids has shape " + shape_text(centroids) + ": want at least one");
             Centroids made(static_cast<uint32_t>(centroids.shape(1)), static_cast<size_t>(centroids.shape(0)),
                            centroids.data(), by_product);
             return std::make_unique<IvfIndex>(format, std::move(made));
           }),
           py::arg("format"), py::arg("centroids"), py::arg("by_product"))
      .def("__len__", &IvfIndex::size, kNoGil)
      .def_property_readonly("mapped", &IvfIndex::mapped)
      .def_property_readonly("format", &IvfIndex::format)
      .def_property_readonly("max_id", py::cpp_function(&IvfIndex::max_id, kNoGil))
      .def_property_readonly("list_sizes", py::cpp_function(&IvfIndex::list_sizes, kNoGil))
      .def_property_readonly("centroids",
                             [](const IvfIndex& i) {
                               const auto values = i.centroids().values();
                               return to_numpy(std::vector<float>(values.begin(), values.end()),
                                               {static_cast<py::ssize_t>(i.centroids().size()),
                                                static_cast<py::ssize_t>(i.centroids().dim())});
                             })
      .def(
          "assign", [](const IvfIndex& index, const Array<float>& x) { return assign(index.centroids(), x); },
          py::arg("x"))
      .def("add", &add, py::arg("planes"), py::arg("factors"), py::arg("ids"), py::arg("lists"))
      .def("remove", &remove_rows<IvfIndex>, py::arg("ids"))
      .def("contains", &IvfIndex::contains, py::arg("id"), kNoGil)
      .def("rows", &copy_rows<IvfIndex>, py::arg("ids") = py::none())
      .def("search", &search, py::arg("y"), py::arg("base"), py::arg("stage_y"), py::arg("stage_base"),
           py::arg("vectors"), py::arg("k"), py::arg("enough"), py::arg("nprobe"), py::arg("margin"), py::arg("allow"),
           py::arg("min_scores"))
      .def("by_whole_codes", &IvfIndex::by_whole_codes, py::arg("queries"), py::arg("nprobe"), py::arg("k"))
      .def("range", &range, py::arg("y"), py::arg("base"), py::arg("stage_y"), py::arg("stage_base"),
           py::arg("vectors"), py::arg("nprobe"), py::arg("margin"), py::arg("allow"), py::arg("min_scores"))
      .def("save", &save_index<IvfIndex>, py::arg("path"), py::arg("extra"), py::arg("raw") = py::none());
}

}  // namespace bebr
