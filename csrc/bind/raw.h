// Raw vectors within the file of an index, for the files of the binding that open and save one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bind/arrays.h"
#include "index/index.h"
#include "index/raw/raw.h"

namespace bebr {

// "float16" or "int8".
RawType raw_type_of(const std::string& name);

// The raw vectors in the file of `index`, or null. Throws Error(Corrupt) where they are not those of its rows: where
// their number differs, or, with `verify`, an id.
inline std::unique_ptr<RawVectors> open_raw(const std::shared_ptr<const File>& file, bool map, bool verify,
                                            const Index& index) {
  if (!RawVectors::in(*file)) return nullptr;
  auto raw = RawVectors::open(file, map);
  if (raw->size() != index.size())
    fail(ErrorCode::Corrupt, file->path() + ": section 'raw' names " + std::to_string(raw->size()) +
                                 " vectors beside " + std::to_string(index.size()) + " codes");
  if (verify || !map)
    for (const int64_t id : raw->ids())
      if (!index.contains(id))
        fail(ErrorCode::Corrupt,
             file->path() + ": section 'raw_ids' holds id " + std::to_string(id) + ", which has no code");
  return raw;
}

}  // namespace bebr
