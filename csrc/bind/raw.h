// Raw vectors within the file of an index, for the files of the binding that open and save one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bind/arrays.h"
#include "index/raw/raw.h"

namespace bebr {

// "float16" or "int8".
RawType raw_type_of(const std::string& name);

// Saves an index with the caller's sections and, where there are raw vectors, theirs.
template <typename Index>
void save_index(const Index& index, const std::string& path, const std::map<std::string, py::bytes>& extra,
                const RawVectors* raw) {
  std::vector<Section> sections = sections_of(extra);
  py::gil_scoped_release release;
  std::optional<RawVectors::Saved> saved;
  if (raw != nullptr) saved.emplace(*raw).add_to(sections);
  index.save(path, sections);
}

// The raw vectors in the file of `index`, or null. Throws Error(Corrupt) where they are not those of its rows: where
// their number differs, or, with `verify`, an id.
template <typename Index>
std::unique_ptr<RawVectors> open_raw(const std::shared_ptr<const File>& file, bool map, bool verify,
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
