// Texts beside rows for Python: those of a file, and those of rows in memory (bind/module.cpp).
#include "collection/texts.h"

#include "bind/arrays.h"
#include "bind/held.h"

namespace bebr {
namespace {

std::shared_ptr<MappedTexts> make_mapped(const Array<uint64_t>& at, const Array<uint8_t>& text) {
  expect_shape(at, "at", {-1});
  expect_shape(text, "text", {-1});
  auto made = std::make_shared<MappedTexts>(
      std::span(at.data(), static_cast<size_t>(at.size())),
      std::string_view(reinterpret_cast<const char*>(text.data()), static_cast<size_t>(text.size())));
  made->keep(held(at));
  made->keep(held(text));
  return made;
}

void append(GrowingTexts& texts, const std::vector<py::bytes>& more) {
  const std::vector<std::string_view> views(more.begin(), more.end());
  const NoGilFor release(static_cast<py::ssize_t>(views.size()));
  texts.append(views);
}

py::bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

py::bytes at(const GrowingTexts& texts, size_t row) {
  const std::optional<std::string_view> found = texts.find(row);
  if (!found) throw py::index_error("row " + std::to_string(row) + " is not there");
  return bytes_of(*found);
}

std::vector<std::string_view> found(const GrowingTexts& texts, const Array<int64_t>& rows) {
  expect_shape(rows, "rows", {-1});
  const std::span all(rows.data(), static_cast<size_t>(rows.size()));
  const auto size = static_cast<int64_t>(texts.size());
  for (const int64_t row : all)
    if (row < 0 || row >= size) throw py::index_error("row " + std::to_string(row) + " is not there");
  std::vector<std::string_view> views(all.size());
  texts.read(all, views.data());
  return views;
}

py::list take(const GrowingTexts& texts, const Array<int64_t>& rows) {
  const std::vector<std::string_view> views = found(texts, rows);
  py::list made(views.size());
  for (size_t i = 0; i < views.size(); ++i) made[i] = bytes_of(views[i]);
  return made;
}

py::array_t<int64_t> lengths(const GrowingTexts& texts, const Array<int64_t>& rows) {
  const std::vector<std::string_view> views = found(texts, rows);
  py::array_t<int64_t> made(rows.size());
  int64_t* const to = made.mutable_data();
  for (size_t i = 0; i < views.size(); ++i) to[i] = static_cast<int64_t>(views[i].size());
  return made;
}

}  // namespace

void bind_texts(py::module_& m) {
  py::class_<TextColumn, std::shared_ptr<TextColumn>>(m, "TextColumn");
  py::class_<MappedTexts, TextColumn, std::shared_ptr<MappedTexts>>(m, "MappedTexts")
      .def(py::init(&make_mapped), py::arg("at"), py::arg("text"));
  py::class_<GrowingTexts, TextColumn, std::shared_ptr<GrowingTexts>>(m, "GrowingTexts")
      .def(py::init<>())
      .def("__len__", &GrowingTexts::size)
      .def("append", &append, py::arg("texts"))
      .def("append_empty", &GrowingTexts::append_empty, py::arg("rows"))
      .def("__getitem__", &at, py::arg("row"))
      .def("take", &take, py::arg("rows"))
      .def("lengths", &lengths, py::arg("rows"));
}

}  // namespace bebr
