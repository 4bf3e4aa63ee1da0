// Graph files. Sections: gspec (fixed struct below), gram and mean (floats of CodeSpace), nodes
// (records, as in memory), ids, and inlined (bytes of a neighbour's code in a record) where there are any; a caller's
// own sections (the model) follow and are left alone. A file holds no removed rows. Links are checked when they are
// followed, not when a file is opened.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "index/format_file.h"
#include "index/graph/rows.h"

namespace bebr {
namespace {

struct GraphSpec {
  StoredSpec format;
  StoredCode code;
  uint32_t neighbors, ef_construction;  // neighbors: half of the most links
  float mean_norm, scale, offset;
  uint32_t augment_norm;
  uint64_t seed, rows;
};
static_assert(sizeof(GraphSpec) == 96);

uint32_t read_inlined(const File& file) {
  if (!file.has("inlined")) return 0;
  const auto inlined = read_struct<uint32_t>(file, "inlined");
  if (inlined % 4 != 0 || inlined < 4 || inlined > kMostInlined)
    fail(ErrorCode::Corrupt, file.path() + ": section 'inlined' names " + std::to_string(inlined) + " bytes");
  return inlined;
}

}  // namespace

std::shared_ptr<const GraphSegment> GraphSegment::open(std::shared_ptr<const File> file) {
  const auto s = read_struct<GraphSpec>(*file, "gspec");
  if (s.rows > INT32_MAX || s.neighbors < 1 || s.neighbors > kMostDegree / 2 || s.ef_construction < 1 ||
      s.augment_norm > 1 || !std::isfinite(s.mean_norm) || !std::isfinite(s.scale) || s.scale == 0 ||
      !std::isfinite(s.offset))
    fail(ErrorCode::Corrupt, file->path() + ": section 'gspec' names " + std::to_string(s.neighbors) + " neighbors, " +
                                 std::to_string(s.rows) + " rows");
  const RowFormat format = format_of(*file, "gspec", s.format, s.code);
  const uint32_t dims = format.spec.dims();
  CodeSpace space{read_floats(*file, "gram", dims),
                  read_floats(*file, "mean", dims),
                  s.mean_norm,
                  s.scale,
                  s.offset,
                  s.augment_norm == 1};
  const GraphParams params{2 * s.neighbors, s.ef_construction, s.seed, read_inlined(*file)};
  auto segment = std::make_shared<GraphSegment>(format, params, std::move(space));
  expect_size(*file, "nodes", s.rows * segment->layout().stride);
  expect_size(*file, "ids", s.rows * sizeof(int64_t));
  segment->show(file->section("nodes").data(), reinterpret_cast<const int64_t*>(file->section("ids").data()), s.rows,
                0);
  segment->linked() = s.rows;
  segment->file_ = std::move(file);
  return segment;
}

void GraphSegment::save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const {
  if (dead.present()) return GraphRows(*this, dead).reader()->save(path, extra, {});
  const GraphSpec s = {stored_spec(format()),  stored_code(format()),
                       params_.max_degree / 2, params_.ef_construction,
                       space_.mean_norm,       space_.scale,
                       space_.offset,          space_.augment_norm ? 1u : 0u,
                       params_.seed,           rows_};
  std::vector<Section> sections = {
      {"gspec", bytes_of(&s, sizeof s)},
      {"gram", bytes_of(space_.gram.data(), space_.gram.size() * sizeof(float))},
      {"mean", bytes_of(space_.mean.data(), space_.mean.size() * sizeof(float))},
      {"nodes", bytes_of(nodes_, rows_ * layout_.stride)},
      {"ids", bytes_of(ids_, rows_ * sizeof(int64_t))},
  };
  if (params_.inlined > 0) sections.push_back({"inlined", bytes_of(&params_.inlined, sizeof params_.inlined)});
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "graph", sections);
}

// Nor may links lead to slots that are not there.
GraphRows::GraphRows(const GraphSegment& copied, const BitmapView& dead) : GraphRows(copied) {
  for (size_t slot = 0; slot < rows_; ++slot)
    if (dead[slot]) removed_.push_back(static_cast<uint32_t>(slot));
  make_bits(rows_);
  for (const uint32_t slot : removed_) {
    set_bit(hidden_, slot);
    set_bit(gone_, slot);
  }
  live_ -= removed_.size();
  compact();
}

// Removed rows and free slots go.
void GraphRows::compact() {
  std::shared_mutex nobody;
  repair(nobody);
  if (live_ == rows_) return;
  std::vector<uint32_t> place(rows_, kNoLink);
  uint32_t next = 0;
  for (size_t i = 0; i < rows_; ++i)
    if (live(i)) place[i] = next++;
  for (size_t i = 0; i < rows_; ++i) {
    if (place[i] == kNoLink) continue;
    uint8_t* to = record(place[i]);  // at or before its own place
    if (place[i] != i) std::memcpy(to, record(static_cast<uint32_t>(i)), layout_.stride);
    uint32_t kept = 0;
    for (uint32_t j = 0; j < layout_.degree; ++j) {
      const uint32_t link = load_link(to + layout_.links + 4 * j);
      if (link == kNoLink) break;
      if (link >= rows_ || place[link] == kNoLink) continue;
      if (kept != j) move_neighbour(layout_, to, j, kept);
      store_link(to + layout_.links + 4 * kept++, place[link]);
    }
    for (; kept < layout_.degree; ++kept) store_link(to + layout_.links + 4 * kept, kNoLink);
    ids_.as<int64_t>()[place[i]] = ids_.as<int64_t>()[i];
  }
  rows_ = next;
  segment_->linked() = next;
  nodes_.resize(rows_ * layout_.stride);
  ids_.resize(rows_ * sizeof(int64_t));
  free_.clear();
  hidden_.clear();
  changed();
}

}  // namespace bebr
