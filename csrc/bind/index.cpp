// Index and TailRows for Python (bind/module.cpp).
#include "index/index.h"

#include <pybind11/operators.h>

#include "base/file_check.h"
#include "binarizer/queries.h"
#include "bind/raw.h"
#include "bind/search.h"
#include "bind/signals.h"
#include "index/flat/rows.h"
#include "index/flat/tail.h"
#include "index/graph/rows.h"
#include "index/ivf/copy.h"
#include "index/ivf/rows.h"

namespace bebr {
namespace {

// --- made
std::unique_ptr<Index> make_flat(const RowFormat& format) {
  return std::make_unique<Index>(std::make_unique<FlatRows>(format));
}

std::unique_ptr<Index> make_ivf(const RowFormat& format, const Array<float>& centroids, bool by_product) {
  expect_shape(centroids, "centroids", {-1, -1});
  if (centroids.shape(0) < 1 || centroids.shape(1) < 1)
    fail(ErrorCode::InvalidArgument, "centroids has shape " + shape_text(centroids) + ": want at least one");
  const auto dim = static_cast<uint32_t>(centroids.shape(1));
  const auto count = static_cast<size_t>(centroids.shape(0));
  const float* values = centroids.data();
  const GilRelease release;
  auto made = std::make_shared<const Centroids>(dim, count, values, by_product);
  return std::make_unique<Index>(std::make_unique<IvfRows>(format, std::move(made)));
}

std::unique_ptr<Index> make_graph(const RowFormat& format, uint32_t max_degree, uint32_t ef_construction, uint64_t seed,
                                  uint32_t inlined, const Array<float>& gram, const Array<float>& mean, float mean_norm,
                                  float scale, float offset, bool augment_norm) {
  const auto dims = static_cast<py::ssize_t>(format.spec.dims());
  expect_shape(gram, "gram", {dims});
  expect_shape(mean, "mean", {dims});
  if (max_degree % 2 != 0 || max_degree < 2 || max_degree > kMostDegree)
    fail(ErrorCode::InvalidArgument, "max_degree is " + std::to_string(max_degree) +
                                         ": want an even number from 2 to " + std::to_string(kMostDegree));
  if (inlined % 4 != 0 || inlined > kMostInlined)
    fail(ErrorCode::InvalidArgument,
         "inline is " + std::to_string(inlined) + ": want a multiple of 4 up to " + std::to_string(kMostInlined));
  CodeSpace space{
      {gram.data(), gram.data() + dims}, {mean.data(), mean.data() + dims}, mean_norm, scale, offset, augment_norm};
  return std::make_unique<Index>(
      std::make_unique<GraphRows>(format, GraphParams{max_degree, ef_construction, seed, inlined}, std::move(space)));
}

// An index of whatever kind the file holds, the sections that are not the index's own, in place, and its raw vectors or
// None.
py::tuple open_index(const std::string& path, bool map, bool verify) {
  std::shared_ptr<const File> file;
  std::unique_ptr<Index> index;
  std::shared_ptr<RawVectors> raw;
  {
    const GilRelease release;
    file = File::open(path, "", verify || !map);
    index = Index::open(file, map);
    raw = open_raw(file, map, verify, *index);
  }
  py::dict extra;
  for (const std::string& name : file->names())
    if (!Index::owns_section(file->kind(), name) && !RawVectors::owns_section(name))
      extra[py::str(name)] = read_only(file->section(name), file);
  return py::make_tuple(std::move(index), extra, raw ? py::cast(std::move(raw)) : py::none());
}

void save(const Index& index, const std::string& path, const PySections& extra, const RawVectors* raw) {
  HeldSections held(extra);
  std::vector<Section>& sections = held.sections;
  const GilRelease release;
  std::optional<RawVectors::Saved> saved;
  if (raw != nullptr) saved.emplace(*raw).add_to(sections);
  index.save(path, sections);
}

// --- changed
NewRows rows_of(const RowFormat& format, const Array<uint8_t>& planes, const Array<uint8_t>& factors,
                const Array<int64_t>& ids) {
  const auto n = static_cast<py::ssize_t>(ids.size());
  expect_shape(ids, "ids", {-1});
  expect_shape(planes, "planes", {n, static_cast<py::ssize_t>(format.spec.row_bytes())});
  expect_shape(factors, "factors", {n, static_cast<py::ssize_t>(format.factor_bytes())});
  return {static_cast<size_t>(n), planes.data(), factors.data(), ids.data(), nullptr};
}

void add(Index& index, const Array<uint8_t>& planes, const Array<uint8_t>& factors, const Array<int64_t>& ids,
         const std::optional<Array<uint32_t>>& lists) {
  NewRows rows = rows_of(index.format(), planes, factors, ids);
  if (lists.has_value() != (index.kind() == SegmentKind::Ivf))
    fail(ErrorCode::InvalidArgument,
         std::string("lists: want them of an ivf index alone, this one is ") + kind_name(index.kind()));
  if (lists) {
    expect_shape(*lists, "lists", {ids.shape(0)});
    rows.lists = lists->data();
  }
  const GilRelease release;
  const EndedBySignals signals;
  index.add(rows);
}

size_t remove(Index& index, const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  const GilRelease release;
  return index.remove({ids.data(), static_cast<size_t>(ids.size())});
}

void append(TailRows& tail, const Array<uint8_t>& planes, const Array<uint8_t>& factors, const Array<int64_t>& ids) {
  const NewRows rows = rows_of(tail.format(), planes, factors, ids);
  const GilRelease release;
  tail.append(rows.n, rows.planes, rows.factors, rows.ids);
}

// --- read
py::tuple arrays_of(const Index& index, Rows rows) {
  const auto n = static_cast<py::ssize_t>(rows.ids.size());
  return py::make_tuple(
      to_numpy(std::move(rows.planes), {n, static_cast<py::ssize_t>(index.format().spec.row_bytes())}),
      to_numpy(std::move(rows.factors), {n, static_cast<py::ssize_t>(index.format().factor_bytes())}),
      to_numpy(std::move(rows.ids), {n}));
}

py::tuple rows(const Index& index, const std::optional<Array<int64_t>>& ids) {
  Rows out;
  {
    const GilRelease release;
    out = ids ? index.rows({ids->data(), static_cast<size_t>(ids->size())}) : index.rows();
  }
  return arrays_of(index, std::move(out));
}

// A view where rows never change, else a copy.
py::array ids_by_position(const Index& index) {
  std::optional<Index::Reading> now;
  std::span<const int64_t> ids;
  std::vector<int64_t> copy;
  {
    const GilRelease release;
    now.emplace(index.reading());
    ids = now->segment->ids();
    if (!index.immutable()) copy.assign(ids.begin(), ids.end());
  }
  if (index.immutable()) return read_only(ids, now->segment);
  return to_numpy(std::move(copy), {static_cast<py::ssize_t>(ids.size())});
}

template <typename Rows>
py::array_t<int64_t> positions(const Rows& rows, const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  py::array_t<int64_t> found(ids.size());
  int64_t* out = found.mutable_data();
  bool waits = true;  // for a writer
  if constexpr (std::is_same_v<Rows, Index>) waits = !rows.immutable();
  const NoGilFor release(waits ? NoGilFor::kMany : ids.size());
  rows.positions({ids.data(), static_cast<size_t>(ids.size())}, out);
  return found;
}

py::array_t<int64_t> following(const Index& index, int64_t after, size_t skip, size_t count) {
  std::vector<int64_t> rows;
  {
    const GilRelease release;
    rows = index.reading().segment->following(after, skip, count);
  }
  const auto n = static_cast<py::ssize_t>(rows.size());
  return to_numpy(std::move(rows), {n});
}

// The bytes at[row] to at[row + 1] of `text` for each row, one after the other.
py::bytes join_texts(const Array<uint64_t>& at, const Array<uint8_t>& text, const Array<int64_t>& rows) {
  expect_shape(at, "at", {-1});
  expect_shape(text, "text", {-1});
  expect_shape(rows, "rows", {-1});
  const std::span<const uint64_t> places(at.data(), static_cast<size_t>(at.size()));
  const std::span<const int64_t> wanted(rows.data(), static_cast<size_t>(rows.size()));
  const auto size = static_cast<uint64_t>(text.size());
  uint64_t total = 0;
  for (const int64_t row : wanted) {
    if (row < 0 || static_cast<uint64_t>(row) + 1 >= places.size())
      fail(ErrorCode::InvalidArgument,
           "rows holds " + std::to_string(row) + ": at has " + std::to_string(places.size()) + " places");
    const auto i = static_cast<size_t>(row);
    if (places[i] > places[i + 1] || places[i + 1] > size)
      fail(ErrorCode::Corrupt,
           "the text of row " + std::to_string(row) + " lies outside of " + std::to_string(size) + " bytes of text");
    total += places[i + 1] - places[i];
  }
  PyObject* made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(total));
  if (made == nullptr) throw py::error_already_set();
  auto joined = py::reinterpret_steal<py::bytes>(made);
  auto* out = reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(made));
  const uint8_t* from = text.data();
  const GilRelease release;
  for (const int64_t row : wanted) {
    const uint64_t begin = places[static_cast<size_t>(row)], end = places[static_cast<size_t>(row) + 1];
    out = std::copy(from + begin, from + end, out);
  }
  return joined;
}

// --- of one kind
template <typename Segment>
std::shared_ptr<const Segment> segment_of(const Index& index, SegmentKind kind) {
  if (index.kind() != kind)
    fail(ErrorCode::InvalidArgument,
         std::string("this index is ") + kind_name(index.kind()) + ": want " + kind_name(kind));
  const GilRelease release;
  return std::static_pointer_cast<const Segment>(index.reading().segment);
}

std::vector<size_t> list_sizes(const Index& index) {
  const auto segment = segment_of<IvfSegment>(index, SegmentKind::Ivf);
  const GilRelease release;
  const Index::Reading now = index.reading();
  return segment->list_sizes(now.dead);
}

// All rows, list after list, and how many are in each, at one time.
py::tuple rows_in_lists(const Index& index) {
  const auto segment = segment_of<IvfSegment>(index, SegmentKind::Ivf);
  Rows out;
  std::vector<size_t> sizes;
  {
    const GilRelease release;
    const Index::Reading now = index.reading();
    out = segment->live_rows(now.dead);
    sizes = segment->list_sizes(now.dead);
  }
  const auto lists = static_cast<py::ssize_t>(sizes.size());
  return py::make_tuple(arrays_of(index, std::move(out)), to_numpy(std::move(sizes), {lists}));
}

py::array centroids(const Index& index) {
  const auto kept = segment_of<IvfSegment>(index, SegmentKind::Ivf)->shared_centroids();
  return read_only(kept->values(), kept)
      .reshape({static_cast<py::ssize_t>(kept->size()), static_cast<py::ssize_t>(kept->dim())});
}

std::unique_ptr<IvfCopy> make_copy(const Index& index, const Array<uint64_t>& rows) {
  expect_shape(rows, "rows", {-1});
  if (!index.immutable()) fail(ErrorCode::InvalidArgument, "this index may change: want one that was opened");
  const auto from = segment_of<IvfSegment>(index, SegmentKind::Ivf);
  std::vector<uint64_t> words(rows.data(), rows.data() + rows.size());
  return std::make_unique<IvfCopy>(from, std::move(words));
}

std::unique_ptr<Index> freeze_copy(const IvfCopy& copy, const QueryModel& model) {
  const CodeMeans means = copy.means();
  if (means.values.size() != means.lists.size() * model.dims())
    fail(ErrorCode::InvalidArgument,
         "model has codes of " + std::to_string(model.dims()) + " dims, and these have not");
  std::vector<float> vectors(means.lists.size() * model.inner_dim());
  model.means(means.values.data(), means.weights.data(), means.lists.size(), vectors.data());
  return std::make_unique<Index>(copy.whole(vectors), "copied");
}

py::array_t<uint32_t> assign(const Index& index, const Array<float>& x) {
  const auto kept = segment_of<IvfSegment>(index, SegmentKind::Ivf)->shared_centroids();
  return assigned(*kept, x, false);
}

}  // namespace

void bind_index(py::module_& m) {
  py::class_<RowFormat>(m, "RowFormat")
      .def(py::init(&format_of), py::arg("widths"), py::arg("factor"), py::arg("stage_factor"), py::arg("factor_bytes"),
           py::arg("code") = PyFactorCode{0, 1}, py::arg("stage_code") = PyFactorCode{0, 1})
      .def_property_readonly("widths", [](const RowFormat& format) { return widths_of(format.spec); })
      .def_property_readonly("factor_bytes", [](const RowFormat& format) { return format.code.bytes; })
      .def(py::self == py::self);
  py::class_<Index>(m, "Index", py::release_gil_before_calling_cpp_dtor())
      .def_static("flat", &make_flat, py::arg("format"))
      .def_static("ivf", &make_ivf, py::arg("format"), py::arg("centroids"), py::arg("by_product"))
      .def_static("graph", &make_graph, py::arg("format"), py::arg("max_degree"), py::arg("ef_construction"),
                  py::arg("seed"), py::arg("inlined"), py::arg("gram"), py::arg("mean"), py::arg("mean_norm"),
                  py::arg("scale"), py::arg("offset"), py::arg("augment_norm"))
      .def_property_readonly("kind", [](const Index& index) { return kind_name(index.kind()); })
      .def_property_readonly("format", &Index::format)
      .def_property_readonly("immutable", &Index::immutable)
      .def_property_readonly("max_id", py::cpp_function(&Index::max_id, kNoGil))
      .def_property_readonly("ids", &ids_by_position)
      .def("__len__", &Index::size, kNoGil)
      .def("add", &add, py::arg("planes"), py::arg("factors"), py::arg("ids"), py::arg("lists") = py::none())
      .def("remove", &remove, py::arg("ids"))
      .def("contains", &Index::contains, py::arg("id"), kNoGil)
      .def("positions", &positions<Index>, py::arg("ids"))
      .def("following", &following, py::arg("after"), py::arg("skip"), py::arg("count"))
      .def("rows", &rows, py::arg("ids") = py::none())
      .def("search", &search_index, py::arg("queries"), py::arg("options"), py::arg("allow") = py::none())
      .def("search_given", &search_given, py::arg("model"), py::arg("x"), py::arg("coded"), py::arg("options"),
           py::arg("allow") = py::none())
      .def("range", &range_of_index, py::arg("queries"), py::arg("options"), py::arg("allow") = py::none())
      .def("by_whole_codes", &by_whole_codes, py::arg("queries"), py::arg("options"), py::arg("filtered"), kNoGil)
      .def("save", &save, py::arg("path"), py::arg("extra"), py::arg("raw") = py::none())
      .def_property_readonly("list_sizes", &list_sizes)
      .def("rows_in_lists", &rows_in_lists)
      .def("looked_at", &looked_at, py::arg("queries"), py::arg("options"), py::arg("allow") = py::none(),
           py::arg("dead") = py::none(), py::arg("rows") = py::none())
      .def_property_readonly("centroids", &centroids)
      .def("assign", &assign, py::arg("x"))
      .def_property_readonly(
          "max_degree",
          [](const Index& index) { return segment_of<GraphSegment>(index, SegmentKind::Graph)->params().max_degree; })
      .def_property_readonly(
          "inlined",
          [](const Index& index) { return segment_of<GraphSegment>(index, SegmentKind::Graph)->params().inlined; })
      .def_property_readonly("node_bytes", [](const Index& index) {
        return segment_of<GraphSegment>(index, SegmentKind::Graph)->layout().stride;
      });
  py::class_<TailRows, std::shared_ptr<TailRows>>(m, "TailRows", py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const RowFormat&>(), py::arg("format"))
      .def("__len__", &TailRows::size, kNoGil)
      .def("reserve", &TailRows::reserve, py::arg("rows"), kNoGil)
      .def("append", &append, py::arg("planes"), py::arg("factors"), py::arg("ids"))
      .def(
          "freeze", [](const TailRows& tail) { return std::make_unique<Index>(tail.freeze(), "frozen"); }, kNoGil)
      .def("positions", &positions<TailRows>, py::arg("ids"));
  py::class_<IvfCopy>(m, "ListCopy", py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&make_copy), py::arg("index"), py::arg("rows"))
      .def("grow", &IvfCopy::grow, py::arg("rows"), kNoGil)
      .def("freeze", &freeze_copy, py::arg("model"), kNoGil);
  m.def("join_texts", &join_texts, py::arg("at"), py::arg("text"), py::arg("rows"));
  py::class_<FileCheck>(m, "FileCheck")
      .def(py::init<const std::string&>(), py::arg("path"))
      .def("step", &FileCheck::step, py::arg("most"), kNoGil);
  m.def("open_index", &open_index, py::arg("path"), py::arg("map"), py::arg("verify"));
}

}  // namespace bebr
