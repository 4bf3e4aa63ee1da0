// Save and open of IvfIndex. Sections beside those of format_file.h: `coarse` and `lists`, one entry a list
// (ivf/sections.h), `centroids` (float32, count x dim) and `by_id` (uint32 slots in the order of their ids). Lists
// stand one after the other in the row sections, each from a block's first slot on; slots past a list's rows are zero,
// id -1.
#include <algorithm>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "index/flat/flat.h"
#include "index/format_file.h"
#include "index/ivf/ivf.h"
#include "index/ivf/sections.h"

namespace bebr {
namespace {

RowView slice(const RowFormat& format, const RowView& all, uint64_t first, uint64_t rows) {
  if (rows == 0) return {};
  const auto at = [first](const uint8_t* p, size_t width) { return p == nullptr ? nullptr : p + first * width; };
  return {at(all.blocks, format.spec.groups()),
          at(all.rest, format.spec.rest_bytes()),
          at(all.factors, format.code.bytes),
          at(all.stage_factors, format.code.bytes),
          all.ids + first,
          rows};
}

}  // namespace

std::unique_ptr<IvfIndex> IvfIndex::open(std::shared_ptr<const File> file, bool map) {
  const auto corrupt = [&](const std::string& what) { fail(ErrorCode::Corrupt, file->path() + ": " + what); };
  uint64_t slots = 0;
  const RowFormat format = read_format(*file, slots);
  const RowView all = read_rows(*file, format, slots);
  const auto coarse = read_struct<Coarse>(*file, "coarse");
  if (coarse.dim == 0 || coarse.count == 0 || coarse.by_product > 1 || coarse.zero != 0)
    corrupt("section 'coarse' names " + std::to_string(coarse.count) + " centroids of " + std::to_string(coarse.dim) +
            " dimensions");
  expect_size(*file, "centroids", uint64_t{coarse.dim} * coarse.count * sizeof(float));
  expect_size(*file, "lists", uint64_t{coarse.count} * sizeof(ListEntry));
  Centroids centroids(coarse.dim, coarse.count, reinterpret_cast<const float*>(file->section("centroids").data()),
                      coarse.by_product == 1);
  auto index = std::make_unique<IvfIndex>(format, std::move(centroids));
  const auto* entries = reinterpret_cast<const ListEntry*>(file->section("lists").data());
  uint64_t next = 0;
  for (size_t l = 0; l < coarse.count; ++l) {
    const ListEntry& e = entries[l];
    if (e.first != next || e.rows > slots || slots - e.rows < e.first)
      corrupt("section 'lists': list " + std::to_string(l) + " has " + std::to_string(e.rows) + " rows from slot " +
              std::to_string(e.first) + ": want from slot " + std::to_string(next) + " and an end by " +
              std::to_string(slots));
    next = round_up(e.first + e.rows, kBlockRows);
    index->first_.push_back(e.first);
    index->lists_[l].view = slice(format, all, e.first, e.rows);
    index->rows_ += e.rows;
  }
  if (next != slots)
    corrupt("section 'lists' ends at slot " + std::to_string(next) + ": want " + std::to_string(slots));
  index->first_.push_back(slots);
  expect_size(*file, "by_id", index->rows_ * sizeof(uint32_t));
  if (map) {
    index->stores_.clear();
    index->file_ids_ = all.ids;
    index->by_id_ = {reinterpret_cast<const uint32_t*>(file->section("by_id").data()), index->rows_};
    index->file_ = std::move(file);
    return index;
  }
  index->first_.clear();
  for (size_t l = 0; l < coarse.count; ++l) {
    index->stores_[l].assign(format, index->lists_[l].view);
    index->lists_[l].view = index->stores_[l].view();
  }
  return index;
}

bool IvfIndex::owns_section(std::string_view name) {
  constexpr std::string_view kOwn[] = {"coarse", "centroids", "lists", "by_id"};
  return FlatIndex::owns_section(name) || std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

void IvfIndex::save(const std::string& path, std::span<const Section> extra) const {
  std::shared_lock lock(mutex_);
  // Live rows of all lists, each list filled up to whole blocks.
  RowStore all;
  std::vector<ListEntry> entries;
  const std::vector<uint8_t> nothing(format_.spec.row_bytes() + format_.factor_bytes());
  constexpr int64_t no_id = -1;
  std::vector<uint32_t> live;
  size_t slots = 0;
  for (const List& list : lists_) slots += round_up(list.view.rows - list.dead, kBlockRows);
  all.reserve(format_, slots);
  for (const List& list : lists_) {
    entries.push_back({all.size(), list.view.rows - list.dead});
    live.clear();
    for (uint32_t i = 0; i < list.view.rows; ++i)
      if (list.has(i)) live.push_back(i);
    all.append(format_, list.view, live);
    while (all.size() % kBlockRows != 0) all.append(format_, 1, nothing.data(), nothing.data(), &no_id);
  }
  const int64_t* ids = all.view().ids;
  std::vector<uint32_t> by_id;
  by_id.reserve(rows_ - dead_);
  for (const ListEntry& e : entries)
    for (uint64_t i = 0; i < e.rows; ++i) by_id.push_back(static_cast<uint32_t>(e.first + i));
  std::sort(by_id.begin(), by_id.end(), [ids](uint32_t a, uint32_t b) { return ids[a] < ids[b]; });

  const Coarse coarse = {centroids_.dim(), static_cast<uint32_t>(centroids_.size()), centroids_.by_product() ? 1u : 0u,
                         0};
  const FormatSections format(format_, all.size());
  std::vector<Section> sections;
  format.add_to(sections);
  add_rows(format_, all.view(), sections);
  sections.push_back({"coarse", bytes_of(&coarse, sizeof coarse)});
  sections.push_back({"centroids", bytes_of(centroids_.values().data(), centroids_.values().size_bytes())});
  sections.push_back({"lists", bytes_of(entries.data(), entries.size() * sizeof(ListEntry))});
  sections.push_back({"by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t))});
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "ivf", sections);
}

}  // namespace bebr
