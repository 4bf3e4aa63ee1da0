// IVF files. Sections beside those of format_file.h: `coarse` and `lists`, one entry a list (ivf/sections.h),
// `centroids` (float32, count x dim) and `by_id` (uint32 slots in the order of their ids). Lists stand one after the
// other in the row sections, each from a block's first slot on; slots past a list's rows are zero, id -1.
#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "index/format_file.h"
#include "index/ivf/sections.h"
#include "index/ivf/segment.h"

namespace bebr {
namespace {

constexpr uint32_t kMostDim = 1u << 16;

}  // namespace

std::shared_ptr<const IvfSegment> IvfSegment::open(std::shared_ptr<const File> file) {
  const auto corrupt = [&](const std::string& what) { fail(ErrorCode::Corrupt, file->path() + ": " + what); };
  uint64_t slots = 0;
  const RowFormat format = read_format(*file, slots);
  const RowView all = read_rows(*file, format, slots);
  const auto head = read_struct<CentroidHeader>(*file, "coarse");
  if (head.dim == 0 || head.dim > kMostDim || head.count == 0 || head.by_product > 1 || head.zero != 0)
    corrupt("section 'coarse' names " + std::to_string(head.count) + " centroids of " + std::to_string(head.dim) +
            " dimensions");
  expect_size(*file, "lists", uint64_t{head.count} * sizeof(ListEntry));
  const auto* entries = reinterpret_cast<const ListEntry*>(file->section("lists").data());
  std::vector<RowView> lists;
  std::vector<size_t> first_slot;
  uint64_t next = 0, rows = 0;
  for (size_t l = 0; l < head.count; ++l) {
    const ListEntry& e = entries[l];
    if (e.first != next || e.rows > slots || slots - e.rows < e.first)
      corrupt("section 'lists': list " + std::to_string(l) + " has " + std::to_string(e.rows) + " rows from slot " +
              std::to_string(e.first) + ": want from slot " + std::to_string(next) + " and an end by " +
              std::to_string(slots));
    next = round_up(e.first + e.rows, kBlockRows);
    first_slot.push_back(e.first);
    lists.push_back(e.rows == 0 ? RowView{} : all.part(format, e.first, e.rows));
    rows += e.rows;
  }
  if (next != slots)
    corrupt("section 'lists' ends at slot " + std::to_string(next) + ": want " + std::to_string(slots));
  expect_size(*file, "by_id", rows * sizeof(uint32_t));
  const std::vector<float> values = read_floats(*file, "centroids", uint64_t{head.dim} * head.count);
  auto centroids = Centroids::shared(head.dim, head.count, values.data(), head.by_product == 1);
  auto segment = std::make_shared<IvfSegment>(format, std::move(centroids), std::move(lists));
  segment->first_slot_ = std::move(first_slot);
  segment->by_slot_ =
      IdOrder({all.ids, slots}, {reinterpret_cast<const uint32_t*>(file->section("by_id").data()), rows});
  segment->file_ = std::move(file);
  return segment;
}

void IvfSegment::save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const {
  // Live rows of all lists, each list filled up to whole blocks.
  RowStore all;
  std::vector<ListEntry> entries;
  const std::vector<uint8_t> nothing(format().spec.row_bytes() + format().factor_bytes());
  constexpr int64_t no_id = -1;
  const RowFilter filter{{}, nullptr, dead, RowFilter::kUncounted};
  const std::vector<size_t> sizes = list_sizes(dead);
  size_t slots = 0;
  for (const size_t size : sizes) slots += round_up(size, kBlockRows);
  if (slots > kMostSlots)
    fail(ErrorCode::LimitExceeded, std::to_string(slots) + " slots in " + std::to_string(lists()) +
                                       " lists: a file has at most " + std::to_string(kMostSlots));
  all.reserve(format(), slots);
  std::vector<uint32_t> live;
  for (size_t l = 0; l < lists(); ++l) {
    entries.push_back({all.size(), sizes[l]});
    live.clear();
    filter.each(first(l), list(l).rows, [&](size_t at) { live.push_back(static_cast<uint32_t>(at - first(l))); });
    all.append(format(), list(l), live);
    while (all.size() % kBlockRows != 0) all.append(format(), 1, nothing.data(), nothing.data(), &no_id);
  }
  const int64_t* ids = all.view().ids;
  std::vector<uint32_t> by_id;
  for (const ListEntry& e : entries)
    for (uint64_t i = 0; i < e.rows; ++i) by_id.push_back(static_cast<uint32_t>(e.first + i));
  std::sort(by_id.begin(), by_id.end(), [ids](uint32_t a, uint32_t b) { return ids[a] < ids[b]; });

  const CentroidHeader head = {centroids().dim(), static_cast<uint32_t>(lists()), centroids().by_product() ? 1u : 0u,
                               0};
  const FormatSections spec(format(), all.size());
  std::vector<Section> sections;
  spec.add_to(sections);
  add_rows(format(), all.view(), sections);
  sections.push_back({"coarse", bytes_of(&head, sizeof head)});
  sections.push_back({"centroids", bytes_of(centroids().values().data(), centroids().values().size_bytes())});
  sections.push_back({"lists", bytes_of(entries.data(), entries.size() * sizeof(ListEntry))});
  sections.push_back({"by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t))});
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "ivf", sections);
}

}  // namespace bebr
