// Payloads for Python: bebr.store.columns, and the server's check of what clients sent.
#include "bind/arrays.h"
#include "payload/fields.h"

namespace bebr {
namespace {

// None where Python is to read the texts; else (complete, fields), a field as (path, kinds, listed, plain, rows, types,
// data, texts).
py::object fields_of(const std::vector<py::bytes>& payloads, size_t most_paths, size_t most_depth) {
  std::vector<std::string_view> texts;
  texts.reserve(payloads.size());
  for (const py::bytes& payload : payloads) texts.emplace_back(payload);
  std::optional<PayloadFields> found;
  {
    const GilRelease release;
    found = payload_fields(texts, most_paths, most_depth);
  }
  if (!found) return py::none();
  py::list fields;
  for (PayloadField& field : found->fields) {
    const auto n = static_cast<py::ssize_t>(field.rows.size());
    fields.append(py::make_tuple(field.path, field.kinds, field.listed, field.plain,
                                 to_numpy(std::move(field.rows), {n}), to_numpy(std::move(field.types), {n}),
                                 to_numpy(std::move(field.data), {n}), field.texts));
  }
  return py::make_tuple(found->complete, fields);
}

bool plain(const py::list& payloads) {
  std::vector<std::string_view> texts;
  texts.reserve(payloads.size());
  for (const py::handle payload : payloads) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(payload.ptr(), &size);
    if (text == nullptr) {  // a lone surrogate, or no text at all
      PyErr_Clear();
      return false;
    }
    texts.emplace_back(text, static_cast<size_t>(size));
  }
  const GilRelease release;
  return plain_payloads(texts);
}

}  // namespace

void bind_payload(py::module_& m) {
  m.def("payload_fields", &fields_of, py::arg("payloads"), py::arg("most_paths"), py::arg("most_depth"));
  m.def("plain_payloads", &plain, py::arg("payloads"));
}

}  // namespace bebr
