// Searches in groups for Python: what hits are grouped by, and snapshots that do it (bind/module.cpp).
#include <variant>

#include "bind/asked.h"
#include "bind/held.h"
#include "collection/grouped.h"

namespace bebr {
namespace {

using Values = std::variant<Array<uint8_t>, Array<uint16_t>, Array<int64_t>>;

template <typename T>
std::span<const T> span_of(const Array<T>& array, const char* name) {
  expect_shape(array, name, {-1});
  return {array.data(), static_cast<size_t>(array.size())};
}

std::shared_ptr<GroupColumn> make_column(const Values& values, std::vector<std::string> texts,
                                         const std::optional<Array<uint32_t>>& rows) {
  auto column = std::make_shared<GroupColumn>();
  if (const auto* places = std::get_if<Array<uint8_t>>(&values))
    column->places8 = span_of(*places, "values");
  else if (const auto* more = std::get_if<Array<uint16_t>>(&values))
    column->places16 = span_of(*more, "values");
  else
    column->numbers = span_of(std::get<Array<int64_t>>(values), "values");
  column->owners.push_back(std::visit([](const auto& array) { return held(array); }, values));
  column->texts = std::move(texts);
  column->each = !rows;
  if (rows) {
    column->rows = span_of(*rows, "rows");
    column->owners.push_back(held(*rows));
  }
  return column;
}

std::shared_ptr<GroupedSnapshot> make_grouped(std::shared_ptr<const FilteredSnapshot> some,
                                              const std::vector<std::shared_ptr<GroupColumn>>& columns) {
  return std::make_shared<GroupedSnapshot>(
      std::move(some), std::vector<std::shared_ptr<const GroupColumn>>(columns.begin(), columns.end()));
}

// queries [n, query_dim], or the rows `of` [n].
py::tuple search_groups(const GroupedSnapshot& snapshot, const std::variant<Array<float>, Array<int64_t>>& queries,
                        const PyAsked& asked, size_t size) {
  const auto* const vectors = std::get_if<Array<float>>(&queries);
  const auto* const rows = std::get_if<Array<int64_t>>(&queries);
  if (vectors != nullptr)
    expect_shape(*vectors, "queries", {-1, static_cast<py::ssize_t>(snapshot.query_dim())});
  else
    expect_shape(*rows, "queries", {-1});
  if (vectors != nullptr && !asked.coded && !snapshot.has_decoder())
    fail(ErrorCode::InvalidArgument, "coded is False, and this model has no decoder: want True");
  const float* const q = vectors == nullptr ? nullptr : vectors->data();
  const int64_t* const of = rows == nullptr ? nullptr : rows->data();
  const py::ssize_t n = vectors == nullptr ? rows->shape(0) : vectors->shape(0);
  const CollectionSearch view = asked.view();
  RowGroups found;
  {
    const GilRelease release;
    found = snapshot.search_groups(q, of, static_cast<size_t>(n), view, size);
  }
  const auto width = static_cast<py::ssize_t>(asked.k * size);
  return py::make_tuple(py::array_t<float>({n, width}, found.scores.data()),
                        py::array_t<int64_t>({n, width}, found.ids.data()), found.values);
}

}  // namespace

void bind_groups(py::module_& m) {
  py::class_<GroupColumn, std::shared_ptr<GroupColumn>>(m, "GroupColumn")
      .def(py::init(&make_column), py::arg("values"), py::arg("texts"), py::arg("rows"));
  py::class_<GroupedSnapshot, CodeSearcher, std::shared_ptr<GroupedSnapshot>>(m, "GroupedSnapshot")
      .def(py::init(&make_grouped), py::arg("some"), py::arg("columns"))
      .def("search_groups", &search_groups, py::arg("queries"), py::arg("asked"), py::arg("size"));
}

}  // namespace bebr
