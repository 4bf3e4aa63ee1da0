// Save and open of FlatIndex. Sections: format_file.h; a caller's own sections (the model) follow and are left alone.
#include <algorithm>
#include <mutex>

#include "index/flat/flat.h"
#include "index/format_file.h"

namespace bebr {

std::unique_ptr<FlatIndex> FlatIndex::open(std::shared_ptr<const File> file, bool map) {
  uint64_t rows = 0;
  auto index = std::make_unique<FlatIndex>(read_format(*file, rows));
  const RowView view = read_rows(*file, index->format_, rows);
  if (map) {
    index->mapped_ = view;
    index->file_ = std::move(file);
  } else {
    index->store_.assign(index->format_, view);
  }
  return index;
}

bool FlatIndex::owns_section(std::string_view name) {
  constexpr std::string_view kOwn[] = {"spec", "bytecode", "blocks", "rest", "factors", "stage", "ids"};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

void FlatIndex::save(const std::string& path, std::span<const Section> extra) const {
  std::shared_lock lock(mutex_);
  if (dead_ > 0) {
    // Marked rows are not written: they go through a fresh index.
    lock.unlock();
    const Rows live = rows();
    FlatIndex fresh(format_);
    fresh.add(live.ids.size(), live.planes.data(), live.factors.data(), live.ids.data());
    fresh.save(path, extra);
    return;
  }
  const FormatSections format(format_, view().rows);
  std::vector<Section> sections;
  format.add_to(sections);
  add_rows(format_, view(), sections);
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "flat", sections);
}

}  // namespace bebr
