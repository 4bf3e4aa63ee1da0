// Replies of servers for Python: bebr.serve.remote_searches.
#include <limits>

#include "bind/arrays.h"
#include "messages/hits.h"

namespace bebr {
namespace {

// Scores and ids, both [n, width], and whether the reply has more than these.
py::tuple hits(const py::bytes& reply, py::ssize_t width, bool ascending) {
  const auto found = width < 0 ? std::nullopt : read_hits(std::string_view(reply), static_cast<size_t>(width));
  if (!found)
    fail(ErrorCode::InvalidArgument, "reply is no SearchResponse of up to " + std::to_string(width) + " hits a query");
  const auto n = static_cast<py::ssize_t>(found->counts.size());
  py::array_t<float> scores({n, width});
  py::array_t<int64_t> ids({n, width});
  constexpr float kFar = std::numeric_limits<float>::infinity();
  found->place(static_cast<size_t>(width), ascending ? kFar : -kFar, scores.mutable_data(), ids.mutable_data());
  return py::make_tuple(scores, ids, found->more);
}

}  // namespace

void bind_messages(py::module_& m) {
  m.def("read_hits", &hits, py::arg("reply"), py::arg("width"), py::arg("ascending"));
}

}  // namespace bebr
