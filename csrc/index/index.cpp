#include "index/index.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "index/flat/rows.h"
#include "index/graph/rows.h"
#include "index/ivf/rows.h"
#include "index/new_ids.h"
#include "index/search.h"

namespace bebr {

Index::Index(std::unique_ptr<GrowingRows> rows)
    : kind_(rows->reader()->kind()),
      format_(rows->reader()->format()),
      vector_dim_(rows->reader()->vector_dim()),
      rows_(std::move(rows)) {}

Index::Index(std::shared_ptr<const SegmentReader> segment, std::string source)
    : kind_(segment->kind()),
      format_(segment->format()),
      vector_dim_(segment->vector_dim()),
      segment_(std::move(segment)),
      source_(std::move(source)) {}

size_t Index::size() const {
  std::shared_lock lock(mutex_);
  return segment_ ? segment_->rows() - dead_rows_ : rows_->size();
}

Index::Reading Index::reading() const {
  std::shared_lock lock(mutex_);
  if (segment_) return {std::move(lock), segment_, view_of(dead_), dead_rows_};
  std::shared_ptr<const SegmentReader> segment = rows_->reader();
  const size_t dead = segment->rows() - rows_->size();
  return {std::move(lock), std::move(segment), rows_->dead(), dead};
}

void Index::need_map() const {
  std::lock_guard lock(map_mutex_);
  if (map_built_) return;
  place_of_.reserve(rows_->size());
  rows_->each([this](int64_t id, RowPlace place) { place_of_.set(id, place); });
  map_built_ = true;
}

void Index::find(std::span<const int64_t> ids, int64_t* out) const {
  if (segment_) {
    segment_->positions(ids, out);
    const BitmapView dead = view_of(dead_);
    for (size_t i = 0; i < ids.size(); ++i)
      if (out[i] >= 0 && dead[static_cast<size_t>(out[i])]) out[i] = -1;
    return;
  }
  need_map();
  place_of_.find_all(
      ids, [&](size_t i, const RowPlace* place) { out[i] = place != nullptr ? static_cast<int64_t>(*place) : -1; });
  rows_->positions({out, ids.size()});
}

void Index::positions(std::span<const int64_t> ids, int64_t* out) const {
  std::shared_lock lock(mutex_);
  find(ids, out);
}

bool Index::contains(int64_t id) const {
  int64_t position;
  positions({&id, 1}, &position);
  return position >= 0;
}

RowSet Index::rows_of(WantedIds& wanted, const BitmapView& allow) const {
  const std::shared_ptr<const SegmentReader> segment = segment_ ? segment_ : rows_->reader();
  return wanted.rows_of(*segment, allow, [this](std::span<const int64_t> ids, int64_t* out) { find(ids, out); });
}

void Index::add(const NewRows& rows) {
  if (segment_) fail(ErrorCode::ReadOnly, "this index is " + source_);
  std::lock_guard writer(writer_);
  need_map();
  check_new_ids({rows.ids, rows.n}, place_of_);
  check_factors(format_, rows.n, rows.factors);
  rows_->check(rows);
  std::vector<RowPlace> places(rows.n);
  {
    std::unique_lock lock(mutex_);
    const auto changed = [](GrowingRows* r) { r->changed(); };
    const std::unique_ptr<GrowingRows, decltype(changed)> at_end(rows_.get(), changed);
    place_of_.reserve(place_of_.size() + rows.n);  // so that nothing can fail once the rows are there
    rows_->insert(rows, places.data());
    for (size_t i = 0; i < rows.n; ++i) place_of_.set(rows.ids[i], places[i]);
  }
  try {
    rows_->finish_insert(mutex_);
  } catch (...) {
    std::unique_lock lock(mutex_);
    for (size_t i = 0; i < rows.n; ++i) place_of_.erase(rows.ids[i]);
    rows_->give_up();
    throw;
  }
}

size_t Index::remove(std::span<const int64_t> ids) {
  std::lock_guard writer(writer_);
  size_t removed = 0;
  if (segment_) {
    std::vector<int64_t> found(ids.size());
    find(ids, found.data());  // without the lock, for it may put ids in order
    std::unique_lock lock(mutex_);
    if (dead_.empty()) dead_.resize(words_for(segment_->rows()));
    for (const int64_t position : found) {
      if (position < 0 || view_of(dead_)[static_cast<size_t>(position)]) continue;
      set_bit(dead_, static_cast<size_t>(position));
      ++removed;
    }
    dead_rows_ += removed;
    return removed;
  }
  need_map();
  {
    std::unique_lock lock(mutex_);
    const auto changed = [](GrowingRows* r) { r->changed(); };
    const std::unique_ptr<GrowingRows, decltype(changed)> at_end(rows_.get(), changed);
    rows_->prepare_remove(std::min(ids.size(), place_of_.size()));
    for (const int64_t id : ids) {
      const RowPlace* place = place_of_.find(id);
      if (place == nullptr) continue;
      const std::optional<RowPlace> moved = rows_->remove(*place);
      place_of_.erase(id);
      if (moved) place_of_.set(rows_->id_at(*moved), *moved);
      ++removed;
    }
  }
  rows_->tidy(mutex_);
  return removed;
}

int64_t Index::max_id() const {
  const Reading now = reading();
  const std::span<const int64_t> ids = now.segment->ids();
  int64_t largest = -1;
  RowFilter{{}, nullptr, now.dead, now.dead_rows}.each(0, ids.size(),
                                                       [&](size_t at) { largest = std::max(largest, ids[at]); });
  return largest;
}

Rows Index::rows() const {
  const Reading now = reading();
  std::vector<uint32_t> live;
  live.reserve(now.segment->rows() - now.dead_rows);
  RowFilter{{}, nullptr, now.dead, now.dead_rows}.each(0, now.segment->rows(),
                                                       [&](size_t at) { live.push_back(static_cast<uint32_t>(at)); });
  return now.segment->copy_rows(live);
}

Rows Index::rows(std::span<const int64_t> ids) const {
  const Reading now = reading();
  std::vector<int64_t> found(ids.size());
  find(ids, found.data());
  std::vector<uint32_t> rows;
  rows.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (found[i] < 0) fail(ErrorCode::UnknownId, "id " + std::to_string(ids[i]) + " is not in this index");
    rows.push_back(static_cast<uint32_t>(found[i]));
  }
  return now.segment->copy_rows(rows);
}

void Index::search(QueryBatch& queries, const SearchOptions& options, const AllowedIds& allow, TopKBatch& tops) const {
  const Reading now = reading();
  std::optional<WantedIds> wanted;
  if (allow) wanted.emplace(*allow, queries.size());
  const RowSet rows = wanted ? rows_of(*wanted) : RowSet{};
  SegmentView segment = {now.segment, {{}, nullptr, now.dead, now.dead_rows}};
  if (allow) rows.restrict(segment.filter);
  bebr::search({&segment, 1}, queries, options, tops);
}

std::vector<std::vector<Hit>> Index::range(QueryBatch& queries, const SearchOptions& options,
                                           const AllowedIds& allow) const {
  const Reading now = reading();
  std::optional<WantedIds> wanted;
  if (allow) wanted.emplace(*allow, queries.size());
  const RowSet rows = wanted ? rows_of(*wanted) : RowSet{};
  SegmentView segment = {now.segment, {{}, nullptr, now.dead, now.dead_rows}};
  if (allow) rows.restrict(segment.filter);
  SearchOptions every = options;
  every.range = true;
  every.exact = every.exact || kind_ == SegmentKind::Flat;
  every.k = std::max<size_t>(1, now.segment->rows());
  every.enough = 1;
  TopKBatch tops(queries.size(), every.k, options.min_scores);
  bebr::search({&segment, 1}, queries, every, tops);
  return tops.sorted();
}

void Index::save(const std::string& path, std::span<const Section> extra) const {
  const std::lock_guard writer(writer_);  // searches go on
  const Reading now = reading();
  now.segment->save(path, extra, now.dead_rows > 0 ? now.dead : BitmapView{});
}

std::unique_ptr<Index> Index::open(std::shared_ptr<const File> file, bool map) {
  const std::string source = "mapped from " + file->path() + ": open it with mmap=False to add", kind = file->kind();
  if (kind == "flat") {
    auto segment = FlatSegment::open(std::move(file));
    return map ? std::make_unique<Index>(std::move(segment), source)
               : std::make_unique<Index>(std::make_unique<FlatRows>(*segment));
  }
  if (kind == "ivf") {
    auto segment = IvfSegment::open(std::move(file));
    return map ? std::make_unique<Index>(std::move(segment), source)
               : std::make_unique<Index>(std::make_unique<IvfRows>(*segment));
  }
  if (kind == "graph") {
    auto segment = GraphSegment::open(std::move(file));
    return map ? std::make_unique<Index>(std::move(segment), source)
               : std::make_unique<Index>(std::make_unique<GraphRows>(*segment));
  }
  fail(ErrorCode::Corrupt, file->path() + ": holds a '" + kind + "': want an index, 'flat', 'ivf' or 'graph'");
}

bool Index::owns_section(std::string_view kind, std::string_view name) {
  const auto in = [name](std::initializer_list<std::string_view> own) {
    return std::find(own.begin(), own.end(), name) != own.end();
  };
  if (kind == "graph") return in({"gspec", "gram", "mean", "nodes", "ids", "inlined"});
  if (kind == "ivf" && in({"coarse", "centroids", "lists"})) return true;
  return in({"spec", "bytecode", "blocks", "rest", "factors", "stage", "ids", "by_id"});
}

}  // namespace bebr
