// Where the rows of ids are.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "collection/snapshot.h"

namespace bebr {

struct Place {
  uint32_t part = 0, row = 0;
  int64_t id = 0;
  size_t at = 0;  // which of the ids
};

// Of those that are there, -1 not among them, part after part: a removed row's id is in the part that has it alive.
std::vector<Place> places(std::span<const std::shared_ptr<const CollectionPart>> parts, std::span<const int64_t> ids);

}  // namespace bebr
