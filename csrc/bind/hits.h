// The hits of a server's reply as arrays.
#pragma once

#include <limits>
#include <optional>
#include <string_view>

#include "bind/arrays.h"
#include "messages/hits.h"

namespace bebr {

// Scores and ids, both [n, width], and whether the reply has more than these.
struct HitArrays {
  py::array_t<float> scores;
  py::array_t<int64_t> ids;
  bool more;
};

// Nothing where it is no SearchResponse of up to `width` hits a query.
inline std::optional<HitArrays> hit_arrays(std::string_view reply, py::ssize_t width, bool ascending) {
  const auto found = width < 0 ? std::nullopt : read_hits(reply, static_cast<size_t>(width));
  if (!found) return std::nullopt;
  const auto n = static_cast<py::ssize_t>(found->counts.size());
  HitArrays made{py::array_t<float>({n, width}), py::array_t<int64_t>({n, width}), found->more};
  constexpr float kFar = std::numeric_limits<float>::infinity();
  found->place(static_cast<size_t>(width), ascending ? kFar : -kFar, made.scores.mutable_data(),
               made.ids.mutable_data());
  return made;
}

}  // namespace bebr
