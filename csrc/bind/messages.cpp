// Replies of servers for Python: bebr.serve.answers.
#include "bind/hits.h"

namespace bebr {
namespace {

py::tuple hits(const py::bytes& reply, py::ssize_t width, bool ascending) {
  const auto found = hit_arrays(std::string_view(reply), width, ascending);
  if (!found)
    fail(ErrorCode::InvalidArgument, "reply is no SearchResponse of up to " + std::to_string(width) + " hits a query");
  return py::make_tuple(found->scores, found->ids, found->more);
}

}  // namespace

void bind_messages(py::module_& m) {
  m.def("read_hits", &hits, py::arg("reply"), py::arg("width"), py::arg("ascending"));
}

}  // namespace bebr
