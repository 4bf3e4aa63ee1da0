// Flat files. Sections: those of format_file.h and `by_id`, uint32 positions in the order of their ids, without bytes
// where the ids ascend; files from before it have none. A caller's own sections (the model) follow and are left alone.
#include <string>

#include "index/flat/segment.h"
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

void FlatSegment::save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const {
  RowStore copied;  // where rows are dead, or do not stand in one piece
  RowView view = views_.empty() ? RowView{} : views_.front();
  if (dead.present() || views_.size() > 1) {
    copied.reserve(format(), rows());
    std::vector<FlatPart> parts;
    add_parts({{}, nullptr, dead, RowFilter::kUncounted}, parts);
    for (const FlatPart& part : parts) {
      std::vector<uint32_t> live;
      part.filter.each(part.first, part.rows.rows,
                       [&](size_t at) { live.push_back(static_cast<uint32_t>(at - part.first)); });
      copied.append(format(), part.rows, live);
    }
    view = copied.view();
  }
  const FormatSections head(format(), view.rows);
  const std::vector<uint32_t> by_id = IdOrder::of({view.ids, view.rows});
  std::vector<Section> sections;
  head.add_to(sections);
  add_rows(format(), view, sections);
  sections.push_back({"by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t))});
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "flat", sections);
}

}  // namespace bebr
