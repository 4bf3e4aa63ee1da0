// Chunks and their merge, for bebr.bulk (bind/module.cpp).
#include <optional>

#include "bind/raw.h"
#include "index/ivf/chunk.h"
#include "index/ivf/means.h"
#include "index/ivf/merge.h"

namespace bebr {
namespace {

// What every chunk of a build has in common, and where they end.
class IvfBuild {
 public:
  IvfBuild(const RowFormat& format, Centroids centroids, RawFormat raw)
      : format_(format), centroids_(std::move(centroids)), raw_(raw) {}

  // x: float32 [n, dim]; uint8 [n, raw bytes] of a row that is kept beside its code.
  py::array_t<uint8_t> raw_rows(const Array<float>& x) const {
    expect_shape(x, "x", {-1, static_cast<py::ssize_t>(raw_.dim)});
    py::array_t<uint8_t> rows({x.shape(0), static_cast<py::ssize_t>(raw_.stride())});
    uint8_t* out = rows.mutable_data();
    GilRelease release;
    store_raw(raw_, static_cast<size_t>(x.shape(0)), x.data(), out);
    return rows;
  }

  py::array_t<uint32_t> assign(const Array<float>& x, bool roughly) const { return assigned(centroids_, x, roughly); }

  void write_chunk(const std::string& path, uint64_t first_row, const Array<uint8_t>& planes,
                   const Array<uint8_t>& factors, const Array<uint32_t>& lists,
                   const std::optional<Array<int64_t>>& ids, const std::optional<Array<uint8_t>>& raw) const {
    const py::ssize_t n = lists.size();
    if (raw) expect_shape(*raw, "raw", {n, static_cast<py::ssize_t>(raw_.stride())});
    expect_shape(lists, "lists", {n});
    expect_shape(planes, "planes", {n, static_cast<py::ssize_t>(format_.spec.row_bytes())});
    expect_shape(factors, "factors", {n, static_cast<py::ssize_t>(format_.factor_bytes())});
    if (ids) expect_shape(*ids, "ids", {n});
    const ChunkRows rows = {first_row,
                            static_cast<size_t>(n),
                            planes.data(),
                            factors.data(),
                            ids ? ids->data() : nullptr,
                            lists.data(),
                            static_cast<uint32_t>(centroids_.size()),
                            raw ? raw->data() : nullptr,
                            raw_.stride()};
    GilRelease release;
    bebr::write_chunk(path, format_, rows);
  }

  std::pair<uint64_t, uint64_t> chunk_rows(const std::string& path) const {
    GilRelease release;
    const ChunkHead head = Chunk::open(path, format_, static_cast<uint32_t>(centroids_.size()), raw_bytes()).head();
    return {head.first_row, head.rows};
  }

  void merge(const std::string& path, const std::vector<std::string>& chunks, const PySections& extra, size_t memory,
             const py::function& progress) const {
    const HeldSections held(extra);
    const auto tell = [&progress](uint64_t done, uint64_t rows) {
      const py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      progress(done, rows);
    };
    const MergeJob job = {format_, centroids_, chunks, held.sections, raw_, memory, tell};
    GilRelease release;
    merge_chunks(path, job);
  }

 private:
  size_t raw_bytes() const noexcept { return raw_.dim > 0 ? raw_.stride() : 0; }

  RowFormat format_;
  Centroids centroids_;
  RawFormat raw_;  // dim 0: none are kept
};

// x: float32 [n, dim]; lists: uint32 [n]; before: float32 [count, dim]. Sizes int64 [count], means float32 [count,
// dim].
py::tuple means_of_lists(const Array<float>& x, const Array<uint32_t>& lists, const Array<float>& before) {
  expect_shape(before, "before", {-1, -1});
  expect_shape(lists, "lists", {-1});
  expect_shape(x, "x", {lists.shape(0), before.shape(1)});
  const auto count = static_cast<size_t>(before.shape(0));
  const std::span<const uint32_t> of(lists.data(), static_cast<size_t>(lists.size()));
  for (const uint32_t list : of)
    if (list >= count) throw py::index_error("lists: " + std::to_string(list) + " of " + std::to_string(count));
  py::array_t<float> means({before.shape(0), before.shape(1)});
  py::array_t<int64_t> counted(before.shape(0));
  std::copy_n(before.data(), before.size(), means.mutable_data());
  std::vector<size_t> sizes(count);
  {
    float* out = means.mutable_data();
    const auto dim = static_cast<uint32_t>(before.shape(1));
    const float* from = x.data();
    GilRelease release;
    list_means(from, dim, of, sizes, out);
  }
  std::copy(sizes.begin(), sizes.end(), counted.mutable_data());
  return py::make_tuple(counted, means);
}

}  // namespace

py::array_t<uint32_t> assigned(const Centroids& centroids, const Array<float>& x, bool roughly) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(centroids.dim())});
  py::array_t<uint32_t> lists(x.shape(0));
  uint32_t* out = lists.mutable_data();
  const float* from = x.data();
  const auto n = static_cast<size_t>(x.shape(0));
  GilRelease release;
  centroids.assign(from, n, out, roughly);
  return lists;
}

void bind_build(py::module_& m) {
  py::class_<Centroids>(m, "Centroids")
      .def(py::init([](const Array<float>& values) {
             expect_shape(values, "values", {-1, -1});
             return std::make_unique<Centroids>(static_cast<uint32_t>(values.shape(1)),
                                                static_cast<size_t>(values.shape(0)), values.data(), false);
           }),
           py::arg("values"))
      .def("assign", &assigned, py::arg("x"), py::arg("roughly") = false);
  m.def("list_means", &means_of_lists, py::arg("x"), py::arg("lists"), py::arg("before"));
  py::class_<IvfBuild>(m, "IvfBuild")
      .def(py::init([](const RowFormat& format, const Array<float>& centroids, bool by_product,
                       const std::optional<std::string>& raw, size_t most_direct) {
             expect_shape(centroids, "centroids", {-1, -1});
             Centroids made(static_cast<uint32_t>(centroids.shape(1)), static_cast<size_t>(centroids.shape(0)),
                            centroids.data(), by_product, most_direct);
             return std::make_unique<IvfBuild>(
                 format, std::move(made),
                 raw ? RawFormat{static_cast<uint32_t>(centroids.shape(1)), raw_type_of(*raw)} : RawFormat{});
           }),
           py::arg("format"), py::arg("centroids"), py::arg("by_product"), py::arg("raw") = py::none(),
           py::arg("most_direct") = Centroids::kMostDirect)
      .def("raw_rows", &IvfBuild::raw_rows, py::arg("x"))
      .def("assign", &IvfBuild::assign, py::arg("x"), py::arg("roughly") = false)
      .def("write_chunk", &IvfBuild::write_chunk, py::arg("path"), py::arg("first_row"), py::arg("planes"),
           py::arg("factors"), py::arg("lists"), py::arg("ids"), py::arg("raw") = py::none())
      .def("chunk_rows", &IvfBuild::chunk_rows, py::arg("path"))
      .def("merge", &IvfBuild::merge, py::arg("path"), py::arg("chunks"), py::arg("extra"), py::arg("memory"),
           py::arg("progress"));
}

}  // namespace bebr
