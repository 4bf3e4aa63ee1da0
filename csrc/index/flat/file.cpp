// Flat files. Sections: those of format_file.h and `by_id`, uint32 positions in the order of their ids, without bytes
// where the ids ascend; files from before it have none. A caller's own sections (the model) follow and are left alone.
#include <algorithm>
#include <string>

#include "index/flat/flat.h"
#include "index/format_file.h"

namespace bebr {

std::shared_ptr<const FlatSegment> FlatSegment::open(std::shared_ptr<const File> file) {
  uint64_t rows = 0;
  const RowFormat format = read_format(*file, rows);
  const RowView view = read_rows(*file, format, rows);
  std::optional<std::span<const uint32_t>> by_id;
  if (file->has("by_id")) {
    const std::span<const uint8_t> order = file->section("by_id");
    if (!order.empty()) expect_size(*file, "by_id", rows * sizeof(uint32_t));
    by_id.emplace(reinterpret_cast<const uint32_t*>(order.data()), order.size() / sizeof(uint32_t));
  }
  return std::make_shared<const FlatSegment>(format, std::vector{view}, std::span(view.ids, rows), std::move(file),
                                             by_id);
}

std::unique_ptr<FlatIndex> FlatIndex::open(std::shared_ptr<const File> file, bool map) {
  const std::string source = "mapped from " + file->path() + ": open it with mmap=False to add";
  std::shared_ptr<const FlatSegment> segment = FlatSegment::open(std::move(file));
  if (map) return std::make_unique<FlatIndex>(std::move(segment), source);
  auto index = std::make_unique<FlatIndex>(segment->format());
  index->store_.assign(index->format_, segment->views().front());
  return index;
}

bool FlatIndex::owns_section(std::string_view name) {
  constexpr std::string_view kOwn[] = {"spec", "bytecode", "blocks", "rest", "factors", "stage", "ids", "by_id"};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

void FlatIndex::save(const std::string& path, std::span<const Section> extra) const {
  {
    const Reading now = reading();
    if (dead_count_ == 0 && now.segment->views().size() == 1) {
      const RowView& view = now.segment->views().front();
      const FormatSections format(format_, view.rows);
      const std::vector<uint32_t> by_id = IdOrder::of(now.segment->ids());
      std::vector<Section> sections;
      format.add_to(sections);
      add_rows(format_, view, sections);
      sections.push_back({"by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t))});
      sections.insert(sections.end(), extra.begin(), extra.end());
      return write_file(path, "flat", sections);
    }
  }
  // Marked rows are not written: they go through a fresh index.
  const Rows live = rows();
  FlatIndex fresh(format_);
  fresh.add(live.ids.size(), live.planes.data(), live.factors.data(), live.ids.data());
  fresh.save(path, extra);
}

}  // namespace bebr
