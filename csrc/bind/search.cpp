// Searches for Python: of one index, and of several as one (bind/module.cpp).
#include "bind/search.h"

#include <bit>
#include <numeric>

#include "bind/signals.h"
#include "collection/projected.h"
#include "index/flat/scan.h"
#include "index/ivf/segment.h"

namespace bebr {

Queries PyQueries::view(const Index& index) const {
  const auto dims = static_cast<py::ssize_t>(index.format().spec.dims());
  expect_shape(y, "y", {-1, dims});
  const py::ssize_t n = y.shape(0);
  expect_shape(base, "base", {n});
  Queries queries{static_cast<size_t>(n), y.data(), base.data(), nullptr, nullptr, nullptr};
  if (stage_y && stage_base) {
    expect_shape(*stage_y, "stage_y", {n, dims});
    expect_shape(*stage_base, "stage_base", {n});
    queries.stage_y = stage_y->data();
    queries.stage_base = stage_base->data();
  }
  if (const size_t dim = index.vector_dim(); dim > 0) {
    if (!vectors) fail(ErrorCode::InvalidArgument, "vectors is None: an ivf index wants them");
    expect_shape(*vectors, "vectors", {n, static_cast<py::ssize_t>(dim)});
    queries.vectors = vectors->data();
  }
  return queries;
}

SearchOptions PyOptions::of(const Queries& queries) const {
  SearchOptions with = options;
  if (min_scores) {
    expect_shape(*min_scores, "min_scores", {static_cast<py::ssize_t>(queries.count)});
    with.min_scores = min_scores->data();
  }
  if (stop) {
    with.stop = &stop->set;
    with.work = &stop->work;
  }
  return with;
}

namespace {

PyOptions make_options(size_t k, bool exact, bool batch_invariant, size_t first_stage_rows, size_t nprobe, float margin,
                       size_t enough, size_t ef_search, PyFloats min_scores, std::shared_ptr<StopFlag> stop) {
  PyOptions made;
  made.options.k = k;
  made.options.exact = exact;
  made.options.batch_invariant = batch_invariant;
  made.options.first_stage_rows = first_stage_rows;
  made.options.nprobe = nprobe;
  made.options.margin = margin;
  made.options.enough = enough;
  made.options.ef_search = ef_search;
  made.min_scores = std::move(min_scores);
  made.stop = std::move(stop);
  return made;
}

// find(scores, ids) without the GIL; what it wrote, n rows of k each.
template <typename Find>
py::tuple arrays_of(size_t queries, size_t wanted, const Find& find) {
  const auto n = static_cast<py::ssize_t>(queries), k = static_cast<py::ssize_t>(wanted);
  py::array_t<float> scores({n, k});
  py::array_t<int64_t> ids({n, k});
  float* scores_out = scores.mutable_data();
  int64_t* ids_out = ids.mutable_data();
  {
    const GilRelease release;
    const EndedBySignals signals;
    find(scores_out, ids_out);
  }
  return py::make_tuple(scores, ids);
}

// run(batch, tops) without the GIL; (scores, ids) of what it finds, n rows of k.
template <typename Run>
py::tuple found_by(const Queries& queries, const CodeSpec& spec, const SearchOptions& options, const Run& run) {
  return arrays_of(queries.count, options.k, [&](float* scores, int64_t* ids) {
    QueryBatch batch(spec, queries);
    TopKBatch tops(queries.count, options.k, options.min_scores);
    run(batch, tops);
    tops.write(scores, ids);
  });
}

using PyBitmap = std::optional<Array<uint64_t>>;
// dead, how many, allow, effort
using PySegment = std::tuple<const Index*, PyBitmap, std::optional<size_t>, PyBitmap, size_t>;

BitmapView bitmap_of(const PyBitmap& words, const char* name) {
  if (!words) return {};
  expect_shape(*words, name, {-1});
  return {words->data(), 64 * static_cast<size_t>(words->size())};
}

py::tuple search_several(const std::vector<PySegment>& segments, const PyQueries& queries, const PyOptions& options,
                         const PyIds& allow) {
  if (segments.empty()) fail(ErrorCode::InvalidArgument, "segments is empty: want at least one");
  std::vector<IndexView> views;
  const Index* strictest = std::get<0>(segments.front());  // one that wants vectors, if any does
  for (const auto& [index, dead, dead_rows, allowed, effort] : segments) {
    views.push_back({index, bitmap_of(dead, "dead"), bitmap_of(allowed, "allow"),
                     dead_rows.value_or(RowFilter::kUncounted), effort});
    if (index->vector_dim() == 0) continue;
    if (strictest->vector_dim() > 0 && strictest->vector_dim() != index->vector_dim())
      fail(ErrorCode::InvalidArgument, "segments have centroids of " + std::to_string(strictest->vector_dim()) +
                                           " and of " + std::to_string(index->vector_dim()) +
                                           " dimensions: want those of one model");
    strictest = index;
  }
  const Queries view = queries.view(*strictest);
  const AllowedIds ids = ids_of(allow);
  const SearchOptions with = options.of(view);
  return found_by(view, std::get<0>(segments.front())->format().spec, with,
                  [&](QueryBatch& batch, TopKBatch& tops) { search(views, ids, batch, with, tops); });
}

}  // namespace

py::tuple search_index(const Index& index, const PyQueries& queries, const PyOptions& options, const PyIds& allow) {
  const Queries view = queries.view(index);
  const SearchOptions with = options.of(view);
  const AllowedIds ids = ids_of(allow);
  return found_by(view, index.format().spec, with,
                  [&](QueryBatch& batch, TopKBatch& tops) { index.search(batch, with, ids, tops); });
}

py::tuple search_given(const Index& index, const QueryModel& model, const Array<float>& x, bool coded,
                       const PyOptions& options, const PyIds& allow) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(model.query_dim())});
  if (!(index.format().spec == model.spec()) || (index.vector_dim() > 0 && index.vector_dim() != model.inner_dim()))
    fail(ErrorCode::InvalidArgument, "model is not that of the index's codes");
  if (!coded && !model.has_decoder())
    fail(ErrorCode::InvalidArgument, "coded is False, and this model has no decoder: want True");
  if (options.min_scores) fail(ErrorCode::InvalidArgument, "min_scores are given: want them with Queries");
  const SearchOptions with = options.of({});
  const AllowedIds ids = ids_of(allow);
  const auto n = static_cast<size_t>(x.shape(0));
  const float* from = x.data();
  return arrays_of(n, with.k, [&](float* scores, int64_t* found) {
    std::vector<float> vectors(n * model.inner_dim());
    model.vectors(from, n, coded, vectors.data());
    ProjectedQueries queries(model, std::move(vectors), n);
    if (!with.exact && !by_whole_codes(index, n, options, ids.has_value())) queries.project_stage();
    QueryBatch batch(model.spec(), queries.view());
    TopKBatch tops(n, with.k, with.min_scores);
    index.search(batch, with, ids, tops);
    tops.write(scores, found);
    model.to_metric(scores, n, with.k, queries.offset().data());
  });
}

// (offsets, scores, ids): those of query i stand between offsets i and i + 1.
py::tuple range_of_index(const Index& index, const PyQueries& queries, const PyOptions& options, const PyIds& allow) {
  const Queries view = queries.view(index);
  const SearchOptions with = options.of(view);
  const AllowedIds allowed = ids_of(allow);
  std::vector<int64_t> offsets = {0}, ids;
  std::vector<float> scores;
  {
    const GilRelease release;
    const EndedBySignals signals;
    QueryBatch batch(index.format().spec, view);
    for (const std::vector<Hit>& hits : index.range(batch, with, allowed)) {
      for (const Hit& hit : hits) {
        scores.push_back(hit.score);
        ids.push_back(hit.id);
      }
      offsets.push_back(static_cast<int64_t>(ids.size()));
    }
  }
  const auto n = static_cast<py::ssize_t>(ids.size()), rows = static_cast<py::ssize_t>(offsets.size());
  return py::make_tuple(to_numpy(std::move(offsets), {rows}), to_numpy(std::move(scores), {n}),
                        to_numpy(std::move(ids), {n}));
}

// (begin, lists) of an ivf index: query i looks at lists[begin[i]] to lists[begin[i + 1]]; or None: at all allowed
// rows.
py::object looked_at(const Index& index, const PyQueries& queries, const PyOptions& options, const PyIds& allow,
                     const PyBitmap& dead, const PyBitmap& let) {
  if (index.kind() != SegmentKind::Ivf)
    fail(ErrorCode::InvalidArgument, std::string("this index is ") + kind_name(index.kind()) + ": want ivf");
  const Queries view = queries.view(index);
  const SearchOptions with = options.of(view);
  const AllowedIds ids = ids_of(allow);
  const BitmapView gone = bitmap_of(dead, "dead"), through = bitmap_of(let, "rows");
  LookedAt looked;
  {
    const GilRelease release;
    QueryBatch batch(index.format().spec, view);
    const Index::Reading now = index.reading();
    RowFilter filter{through, nullptr, now.dead, now.dead_rows};
    if (gone.present()) {
      if (now.dead_rows > 0)
        fail(ErrorCode::InvalidArgument, "dead is given, and rows were removed from the index too");
      filter.dead = gone;
      filter.dead_rows = RowFilter::kUncounted;
    }
    std::optional<WantedIds> wanted;
    if (ids) wanted.emplace(*ids, batch.size());
    const RowSet rows = wanted ? index.rows_of(*wanted, through) : RowSet{};
    if (ids) rows.restrict(filter);
    looked = static_cast<const IvfSegment&>(*now.segment).looked_at(batch, with, filter);
  }
  if (looked.all) return py::none();
  const auto begins = static_cast<py::ssize_t>(looked.begin.size()), n = static_cast<py::ssize_t>(looked.lists.size());
  return py::make_tuple(to_numpy(std::move(looked.begin), {begins}), to_numpy(std::move(looked.lists), {n}));
}

bool by_whole_codes(const Index& index, size_t queries, const PyOptions& options, bool filtered) {
  return index.reading().segment->by_whole_codes(queries, options.options, filtered);
}

void bind_search(py::module_& m) {
  py::class_<PyQueries>(m, "Queries")
      .def(py::init<Array<float>, Array<float>, PyFloats, PyFloats, PyFloats>(), py::arg("y"), py::arg("base"),
           py::arg("stage_y") = py::none(), py::arg("stage_base") = py::none(), py::arg("vectors") = py::none());
  py::class_<StopFlag, std::shared_ptr<StopFlag>>(m, "StopFlag")
      .def(py::init<>())
      .def("set", [](StopFlag& flag) { flag.set = true; })
      .def_property_readonly("is_set", [](const StopFlag& flag) { return flag.set.load(); })
      .def_property_readonly("scanned", [](const StopFlag& flag) { return flag.work.scanned.load(); })
      .def_property_readonly("survivors", [](const StopFlag& flag) { return flag.work.survivors.load(); });
  py::class_<PyOptions>(m, "SearchOptions")
      .def(py::init(&make_options), py::arg("k"), py::kw_only(), py::arg("exact") = false,
           py::arg("batch_invariant") = true, py::arg("first_stage_rows") = 0, py::arg("nprobe") = 1,
           py::arg("margin") = 3.0f, py::arg("enough") = 0, py::arg("ef_search") = 0,
           py::arg("min_scores") = py::none(), py::arg("stop") = py::none());
  m.attr("complete_cost") = kCompleteCost;
  m.def("search", &search_several, py::arg("segments"), py::arg("queries"), py::arg("options"),
        py::arg("allow") = py::none());
  m.def(
      "count_bits",
      [](const Array<uint64_t>& words) {
        const uint64_t* from = words.data();
        const auto n = static_cast<size_t>(words.size());
        const GilRelease release;
        return std::accumulate(from, from + n, size_t{0}, [](size_t sum, uint64_t word) {
          return sum + static_cast<size_t>(std::popcount(word));
        });
      },
      py::arg("words"));
}

}  // namespace bebr
