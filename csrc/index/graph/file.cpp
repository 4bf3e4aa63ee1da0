// Save and open of GraphIndex. Sections: gspec (fixed struct below), gram and mean (floats of CodeSpace), nodes
// (records, as in memory), ids; a caller's own sections (the model) follow and are left alone. A file holds no removed
// rows. Links are checked when they are followed, not when a file is opened.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "index/format_file.h"
#include "index/graph/graph.h"

namespace bebr {
namespace {

struct GraphSpec {
  uint32_t planes;
  uint32_t widths[kMaxPlanes];
  uint32_t factor, stage_factor, factor_bytes;
  uint16_t low, step, stage_low, stage_step;  // of factors of one byte
  uint32_t neighbors, ef_construction;
  float mean_norm, scale, offset;
  uint32_t lift;
  uint64_t seed, rows;
};
static_assert(sizeof(GraphSpec) == 96);

std::vector<float> read_floats(const File& file, const char* name, uint32_t count) {
  expect_size(file, name, count * sizeof(float));
  std::vector<float> values(count);
  std::memcpy(values.data(), file.section(name).data(), count * sizeof(float));
  for (const float value : values)
    if (!std::isfinite(value))
      fail(ErrorCode::Corrupt, file.path() + ": section '" + name + "' holds " + std::to_string(value));
  return values;
}

Buffer copy(std::span<const uint8_t> bytes) {
  Buffer buffer(bytes.size());
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return buffer;
}

}  // namespace

std::unique_ptr<GraphIndex> GraphIndex::open(std::shared_ptr<const File> file, bool map) {
  const auto s = read_struct<GraphSpec>(*file, "gspec");
  if (s.planes < 1 || s.planes > kMaxPlanes || s.factor > 2 || s.stage_factor > 1 || s.rows > INT32_MAX ||
      s.neighbors < 1 || s.neighbors > kMostNeighbors || s.ef_construction < 1 || s.lift > 1 ||
      !std::isfinite(s.mean_norm) || !std::isfinite(s.scale) || s.scale == 0 || !std::isfinite(s.offset))
    fail(ErrorCode::Corrupt, file->path() + ": section 'gspec' names " + std::to_string(s.planes) + " planes, factor " +
                                 std::to_string(s.factor) + ", " + std::to_string(s.neighbors) + " neighbors, " +
                                 std::to_string(s.rows) + " rows");
  RowFormat format;
  try {
    format = {CodeSpec::make({s.widths, s.planes}), static_cast<Factor>(s.factor), s.stage_factor == 1,
              FactorCode::make(s.factor_bytes, s.low, s.step),
              FactorCode::make(s.factor_bytes, s.stage_low, s.stage_step)};
  } catch (const Error& e) {
    fail(ErrorCode::Corrupt, file->path() + ": section 'gspec': " + e.what());
  }
  const uint32_t dims = format.spec.dims();
  CodeSpace space{
      read_floats(*file, "gram", dims), read_floats(*file, "mean", dims), s.mean_norm, s.scale, s.offset, s.lift == 1};
  auto index =
      std::make_unique<GraphIndex>(format, GraphParams{s.neighbors, s.ef_construction, s.seed}, std::move(space));
  expect_size(*file, "nodes", s.rows * index->layout_.stride);
  expect_size(*file, "ids", s.rows * sizeof(int64_t));
  index->rows_ = index->live_ = index->linked_ = s.rows;
  if (map) {
    index->mapped_nodes_ = file->section("nodes").data();
    index->mapped_ids_ = reinterpret_cast<const int64_t*>(file->section("ids").data());
    index->file_ = std::move(file);
    return index;
  }
  index->nodes_ = copy(file->section("nodes"));
  index->ids_ = copy(file->section("ids"));
  return index;
}

bool GraphIndex::owns_section(std::string_view name) {
  constexpr std::string_view kOwn[] = {"gspec", "gram", "mean", "nodes", "ids"};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

// A copy without free and removed slots.
std::unique_ptr<GraphIndex> GraphIndex::compacted() const {
  auto whole = std::make_unique<GraphIndex>(format_, params_, space_);
  {
    std::shared_lock lock(mutex_);
    whole->rows_ = rows_;
    whole->live_ = live_;
    whole->linked_ = linked_.load();
    whole->nodes_ = copy({nodes(), rows_ * layout_.stride});
    whole->ids_ = copy({reinterpret_cast<const uint8_t*>(ids()), rows_ * sizeof(int64_t)});
    whole->hidden_ = hidden_;
    whole->free_ = free_;
    whole->removed_ = removed_;
    whole->gone_ = gone_;
  }
  whole->repair();
  if (whole->live_ == whole->rows_) return whole;
  std::vector<uint32_t> place(whole->rows_, kNoLink);
  uint32_t next = 0;
  for (size_t i = 0; i < whole->rows_; ++i)
    if (whole->live(i)) place[i] = next++;
  const RecordLayout& layout = whole->layout_;
  std::vector<uint32_t> links(layout.degree);
  const GraphView graph = whole->view({});
  for (size_t i = 0; i < whole->rows_; ++i) {
    if (place[i] == kNoLink) continue;
    const size_t n = graph.links(static_cast<uint32_t>(i), links.data());
    uint8_t* to = whole->record(place[i]);  // at or before its own place
    if (place[i] != i) std::memcpy(to, whole->record(static_cast<uint32_t>(i)), layout.stride);
    uint32_t kept = 0;
    for (size_t j = 0; j < n; ++j)
      if (place[links[j]] != kNoLink) store_link(to + layout.links + 4 * kept++, place[links[j]]);
    for (; kept < layout.degree; ++kept) store_link(to + layout.links + 4 * kept, kNoLink);
    whole->ids_.as<int64_t>()[place[i]] = whole->ids_.as<int64_t>()[i];
  }
  whole->rows_ = whole->linked_ = next;
  whole->nodes_.resize(whole->rows_ * layout.stride);
  whole->ids_.resize(whole->rows_ * sizeof(int64_t));
  whole->free_.clear();
  whole->hidden_.clear();
  return whole;
}

void GraphIndex::save(const std::string& path, std::span<const Section> extra) const {
  std::unique_lock writer(writer_);
  if (live_ != rows_) {
    // Nor may links lead to slots that are not there.
    const std::unique_ptr<GraphIndex> whole = compacted();
    writer.unlock();
    whole->save(path, extra);
    return;
  }
  std::shared_lock lock(mutex_);
  GraphSpec s{};
  s.planes = format_.spec.planes;
  std::memcpy(s.widths, format_.spec.widths, sizeof s.widths);
  s.factor = static_cast<uint32_t>(format_.factor);
  s.stage_factor = format_.stage_factor ? 1 : 0;
  s.factor_bytes = format_.code.bytes;
  s.low = format_.code.low;
  s.step = format_.code.step;
  s.stage_low = format_.stage_code.low;
  s.stage_step = format_.stage_code.step;
  s.neighbors = params_.neighbors;
  s.ef_construction = params_.ef_construction;
  s.mean_norm = space_.mean_norm;
  s.scale = space_.scale;
  s.offset = space_.offset;
  s.lift = space_.lift ? 1 : 0;
  s.seed = params_.seed;
  s.rows = rows_;
  std::vector<Section> sections = {
      {"gspec", bytes_of(&s, sizeof s)},
      {"gram", bytes_of(space_.gram.data(), space_.gram.size() * sizeof(float))},
      {"mean", bytes_of(space_.mean.data(), space_.mean.size() * sizeof(float))},
      {"nodes", bytes_of(nodes(), rows_ * layout_.stride)},
      {"ids", bytes_of(ids(), rows_ * sizeof(int64_t))},
  };
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "graph", sections);
}

}  // namespace bebr
