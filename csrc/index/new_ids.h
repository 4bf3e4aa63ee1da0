// The check that every index makes before it takes rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "index/id_map.h"

namespace bebr {

// Throws Error(InvalidArgument) for an id that is negative, comes twice, or is in `present`, a map of ids.
template <typename Value>
void check_new_ids(std::span<const int64_t> ids, const IdMap<Value>& present) {
  IdMap<bool> seen;
  seen.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0)
      fail(ErrorCode::InvalidArgument,
           "ids[" + std::to_string(i) + "] is " + std::to_string(ids[i]) + ": want ids >= 0");
    if (present.contains(ids[i]) || !seen.set(ids[i], true))
      fail(ErrorCode::InvalidArgument, "id " + std::to_string(ids[i]) + " is already present: remove it first");
  }
}

}  // namespace bebr
