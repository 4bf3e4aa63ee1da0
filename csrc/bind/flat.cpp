// FlatIndex, TailRows and the search over several segments, for Python (bind/module.cpp).
#include "index/flat/flat.h"

#include <pybind11/operators.h>

#include <bit>
#include <deque>
#include <numeric>

#include "bind/raw.h"
#include "bind/search.h"
#include "index/flat/tail.h"
#include "index/search.h"

namespace bebr {
namespace {

py::tuple search_one(const FlatIndex& index, const PyQueries& queries, size_t k, size_t survivors, bool exact,
                     bool batch_invariant, const PyIds& allow, const PyFloats& min_scores, const StopFlag* stop) {
  const Queries view = queries.view(index.format().spec);
  const SearchOptions options = options_of(k, survivors, exact, batch_invariant, min_scores, stop, view.count);
  const AllowedIds allowed = ids_of(allow);
  return found_by(view, index.format().spec, k, options.min_scores,
                  [&](QueryBatch& batch, TopKBatch& tops) { index.search(batch, options, allowed, tops); });
}

py::tuple range(const FlatIndex& index, const PyQueries& queries, const PyIds& allow, const PyFloats& min_scores) {
  const Queries view = queries.view(index.format().spec);
  SearchOptions options;
  options.min_scores = min_scores_of(min_scores, view.count);
  const AllowedIds allowed = ids_of(allow);
  std::vector<std::vector<Hit>> hits;
  {
    py::gil_scoped_release release;
    QueryBatch batch(index.format().spec, view);
    hits = index.range(batch, options, allowed);
  }
  return ragged(hits);
}

using PyBitmap = std::optional<Array<uint64_t>>;
using PySegment = std::tuple<const FlatIndex*, PyBitmap, PyBitmap>;  // index, dead, allow

BitmapView bitmap_of(const PyBitmap& words, const char* name, size_t rows) {
  if (!words) return {};
  expect_shape(*words, name, {-1});
  if (static_cast<size_t>(words->size()) < words_for(rows))
    fail(ErrorCode::InvalidArgument, std::string(name) + " has " + std::to_string(words->size()) + " words for " +
                                         std::to_string(rows) + " rows: want at least " +
                                         std::to_string(words_for(rows)));
  return {words->data(), rows};
}

// The segments of one search, held as they are, and filters made of what came from Python and what each index knows.
class Snapshot {
 public:
  explicit Snapshot(const std::vector<PySegment>& segments, const AllowedIds& allow) {
    readings_.reserve(segments.size());
    for (const auto& [index, dead, allowed] : segments) {
      readings_.push_back(index->reading());
      const FlatIndex::Reading& now = readings_.back();
      const size_t rows = now.segment->rows();
      RowFilter filter{bitmap_of(allowed, "allow", rows), nullptr, bitmap_of(dead, "dead", rows)};
      if (filter.dead.present() && now.dead.present()) {
        std::vector<uint64_t>& both = bitmaps_.emplace_back(now.dead.words, now.dead.words + words_for(rows));
        for (size_t i = 0; i < both.size(); ++i) both[i] |= filter.dead.words[i];
        filter.dead = view_of(both);
      } else if (now.dead.present()) {
        filter.dead = now.dead;
      }
      if (allow) {
        std::vector<uint32_t>& found = lists_.emplace_back(index->rows_of(*allow));
        if (filter.allow.present()) std::erase_if(found, [&](uint32_t row) { return !filter.allow[row]; });
        filter.rows = &found;
      }
      views_.push_back({now.segment, filter});
    }
  }
  const std::vector<SegmentView>& views() const noexcept { return views_; }

 private:
  std::vector<FlatIndex::Reading> readings_;
  std::deque<std::vector<uint64_t>> bitmaps_;
  std::deque<std::vector<uint32_t>> lists_;
  std::vector<SegmentView> views_;
};

py::tuple search_several(const std::vector<PySegment>& segments, const PyQueries& queries, size_t k, size_t survivors,
                         bool exact, bool batch_invariant, const PyIds& allow, const PyFloats& min_scores,
                         const StopFlag* stop) {
  if (segments.empty()) fail(ErrorCode::InvalidArgument, "segments is empty: want at least one");
  const CodeSpec& spec = std::get<0>(segments.front())->format().spec;
  const Queries view = queries.view(spec);
  const SearchOptions options = options_of(k, survivors, exact, batch_invariant, min_scores, stop, view.count);
  const AllowedIds allowed = ids_of(allow);
  return found_by(view, spec, k, options.min_scores, [&](QueryBatch& batch, TopKBatch& tops) {
    const Snapshot snapshot(segments, allowed);
    search(snapshot.views(), batch, options, tops);
  });
}

// A view of the ids where rows never change, else a copy.
py::array ids_by_position(const FlatIndex& index) {
  const FlatIndex::Reading now = index.reading();
  const std::span<const int64_t> ids = now.segment->ids();
  if (!index.mapped())
    return to_numpy(std::vector<int64_t>(ids.begin(), ids.end()), {static_cast<py::ssize_t>(ids.size())});
  return read_only(ids, now.segment);
}

template <typename Rows>
py::array_t<int64_t> positions(const Rows& rows, const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  py::array_t<int64_t> found(ids.size());
  int64_t* out = found.mutable_data();
  py::gil_scoped_release release;
  rows.positions({ids.data(), static_cast<size_t>(ids.size())}, out);
  return found;
}

void append(TailRows& tail, const Array<uint8_t>& planes, const Array<uint8_t>& factors, const Array<int64_t>& ids) {
  expect_rows(tail.format(), planes, factors, ids);
  py::gil_scoped_release release;
  tail.append(static_cast<size_t>(ids.size()), planes.data(), factors.data(), ids.data());
}

}  // namespace

void bind_flat(py::module_& m) {
  py::class_<RowFormat>(m, "RowFormat")
      .def(py::init(&format_of), py::arg("widths"), py::arg("factor"), py::arg("stage_factor"), py::arg("factor_bytes"),
           py::arg("code") = PyFactorCode{0, 1}, py::arg("stage_code") = PyFactorCode{0, 1})
      .def_property_readonly("widths", [](const RowFormat& format) { return widths_of(format.spec); })
      .def_property_readonly("factor_bytes", [](const RowFormat& format) { return format.code.bytes; })
      .def(py::self == py::self);
  py::class_<PyQueries>(m, "Queries")
      .def(py::init<Array<float>, Array<float>, PyFloats, PyFloats, PyFloats>(), py::arg("y"), py::arg("base"),
           py::arg("stage_y") = py::none(), py::arg("stage_base") = py::none(), py::arg("vectors") = py::none());
  py::class_<StopFlag>(m, "StopFlag")
      .def(py::init<>())
      .def("set", [](StopFlag& flag) { flag.set = true; })
      .def_property_readonly("is_set", [](const StopFlag& flag) { return flag.set.load(); });
  py::class_<FlatIndex>(m, "FlatIndex")
      .def(py::init<const RowFormat&>(), py::arg("format"))
      .def_static("by_whole_codes", &flat_expands, py::arg("queries"))
      .def("__len__", &FlatIndex::size, kNoGil)
      .def_property_readonly("mapped", &FlatIndex::mapped)
      .def_property_readonly("format", &FlatIndex::format)
      .def_property_readonly("max_id", py::cpp_function(&FlatIndex::max_id, kNoGil))
      .def_property_readonly("ids", &ids_by_position)
      .def("positions", &positions<FlatIndex>, py::arg("ids"))
      .def("add", &add_rows<FlatIndex>, py::arg("planes"), py::arg("factors"), py::arg("ids"))
      .def("remove", &remove_rows<FlatIndex>, py::arg("ids"))
      .def("contains", &FlatIndex::contains, py::arg("id"), kNoGil)
      .def("rows", &copy_rows<FlatIndex>, py::arg("ids") = py::none())
      .def("search", &search_one, py::arg("queries"), py::arg("k"), py::arg("survivors") = 0, py::arg("exact") = false,
           py::arg("batch_invariant") = true, py::arg("allow") = py::none(), py::arg("min_scores") = py::none(),
           py::arg("stop") = py::none())
      .def("range", &range, py::arg("queries"), py::arg("allow"), py::arg("min_scores"))
      .def("save", &save_index<FlatIndex>, py::arg("path"), py::arg("extra"), py::arg("raw") = py::none());
  py::class_<TailRows>(m, "TailRows")
      .def(py::init<const RowFormat&>(), py::arg("format"))
      .def("__len__", &TailRows::size, kNoGil)
      .def("append", &append, py::arg("planes"), py::arg("factors"), py::arg("ids"))
      .def(
          "freeze", [](const TailRows& tail) { return std::make_unique<FlatIndex>(tail.freeze(), "frozen"); }, kNoGil)
      .def("positions", &positions<TailRows>, py::arg("ids"));
  m.def(
      "count_bits",
      [](const Array<uint64_t>& words) {
        const uint64_t* from = words.data();
        const auto n = static_cast<size_t>(words.size());
        py::gil_scoped_release release;
        return std::accumulate(from, from + n, size_t{0}, [](size_t sum, uint64_t word) {
          return sum + static_cast<size_t>(std::popcount(word));
        });
      },
      py::arg("words"));
  m.def("search", &search_several, py::arg("segments"), py::arg("queries"), py::arg("k"), py::arg("survivors") = 0,
        py::arg("exact") = false, py::arg("batch_invariant") = true, py::arg("allow") = py::none(),
        py::arg("min_scores") = py::none(), py::arg("stop") = py::none());
}

}  // namespace bebr
