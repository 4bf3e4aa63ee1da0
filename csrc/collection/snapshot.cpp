#include "collection/snapshot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "index/wanted.h"

namespace bebr {
namespace {

constexpr size_t kPieceCandidates = 4'000'000;  // of all queries at a time
constexpr size_t kFewestCandidates = 64;        // fewer than this a query are not worth saving
// Of fewer results, the last one soon rules out rows of lists that it should not (bebr/index/segments.py).
constexpr size_t kLeastDepth = 10;
// And of lists a wider margin than that of training costs less than it finds (the same place).
constexpr float kLeastMargin = 3.0f;

template <typename Work>
bool done(const Work& work) noexcept {
  try {
    work();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

CodeReading::CodeReading(std::vector<std::shared_ptr<const CollectionPart>> of, bool own, size_t least)
    : parts(std::move(of)), in_place(own), candidates(least) {
  if (parts.empty()) fail(ErrorCode::InvalidArgument, "parts is empty: want at least one");
  for (const auto& part : parts) {
    const size_t count = part->reader->rows();
    if ((part->hidden.present() && part->hidden.bits < count) || part->hidden_rows > count)
      fail(ErrorCode::InvalidArgument, "hidden has " + std::to_string(part->hidden.bits) + " bits and " +
                                           std::to_string(part->hidden_rows) + " rows for " + std::to_string(count) +
                                           " rows: want one bit for each");
    if (part->allow.present() && part->allow.bits < count)
      fail(ErrorCode::InvalidArgument, "allow has " + std::to_string(part->allow.bits) + " bits for " +
                                           std::to_string(count) + " rows: want one for each");
    views.push_back({part->reader, {part->allow, nullptr, part->hidden, part->hidden_rows}, 0});
    has_lists = has_lists || part->reader->kind() == SegmentKind::Ivf;
    has_filters = has_filters || part->allow.present();
    rows += count - part->hidden_rows;
  }
}

CollectionSnapshot::CollectionSnapshot(std::shared_ptr<const QueryModel> model,
                                       std::vector<std::shared_ptr<const CollectionPart>> parts,
                                       const Settings& settings)
    : model_(std::move(model)), reading_(std::move(parts), true, 0), settings_(settings) {
  for (const auto& part : parts_) {
    const size_t rows = part->reader->rows();
    if (settings_.kept && part->kept.blocks.size() * part->kept.block_rows < rows)
      fail(ErrorCode::InvalidArgument, "kept has " + std::to_string(part->kept.blocks.size()) + " blocks of " +
                                           std::to_string(part->kept.block_rows) + " rows: want " +
                                           std::to_string(rows) + " rows");
    keyed_ = keyed_ || part->keys != nullptr;
  }
}

CodeReading CollectionSnapshot::in_place(std::span<const BitmapView> allow) const {
  CodeReading made(reading_);
  if (allow.size() != made.views.size())
    fail(ErrorCode::InvalidArgument,
         "allow is of " + std::to_string(allow.size()) + " parts: want " + std::to_string(made.views.size()));
  for (size_t i = 0; i < allow.size(); ++i) {
    const size_t rows = made.views[i].reader->rows();
    if (allow[i].bits < rows)
      fail(ErrorCode::InvalidArgument, "allow has " + std::to_string(allow[i].bits) + " bits for " +
                                           std::to_string(rows) + " rows: want one for each");
    made.views[i].filter.allow = allow[i];
  }
  made.has_filters = true;
  return made;
}

size_t CollectionPart::effort(size_t k, const CollectionSearch& asked) const {
  if (efforts.empty()) return 0;
  const std::optional<size_t>& given = reader->kind() == SegmentKind::Ivf ? asked.nprobe : asked.ef_search;
  if (given) return *given;
  const auto [below, low] = efforts.front();
  return k <= below ? low : static_cast<size_t>(std::ceil(power_law(efforts, static_cast<double>(k))));
}

size_t CollectionSnapshot::candidates(size_t k, std::optional<size_t> rescore) const noexcept {
  if (!settings_.kept) return 0;
  if (rescore) return *rescore;
  const bool all = scores_all(settings_.rows, settings_.kept->stride());
  return all ? std::max(k, settings_.rows) : settings_.candidates.at(k);
}

bool CodeSearcher::try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                              int64_t* ids) const noexcept {
  return done([&] { search(queries, n, asked, scores, ids); });
}

bool CodeSearcher::try_search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                                   int64_t* ids) const noexcept {
  return done([&] { search_rows(of, n, asked, scores, ids); });
}

// Of the rows of a reading, those that have some ids.
struct CollectionSnapshot::Restricted {
  Restricted(const CodeReading& all, std::span<const int64_t> ids, size_t queries) : reading(all) {
    WantedIds wanted(ids, queries);
    sets.reserve(reading.views.size());
    for (size_t i = 0; i < reading.views.size(); ++i) {
      const CollectionPart& part = *reading.parts[i];
      RowFilter& filter = reading.views[i].filter;
      const auto find = [&](std::span<const int64_t> some, int64_t* out) { part.positions(some, out); };
      sets.push_back(wanted.rows_of(*part.reader, filter.allow, find));
      sets.back().restrict(filter);
    }
    reading.has_filters = true;
  }
  std::vector<RowSet> sets;  // that the reading's views look at
  CodeReading reading;
};

void CollectionSnapshot::search(const CodeReading& reading, const float* queries, size_t n,
                                const CollectionSearch& asked, float* scores, int64_t* ids) const {
  const auto vectors = [&](size_t first, size_t count, bool coded) {
    std::vector<float> made(count * model_->inner_dim());
    model_->vectors(queries + first * query_dim(), count, coded, made.data());
    return made;
  };
  search_all(reading, vectors, n, asked, scores, ids);
}

void CollectionSnapshot::search_all(const CodeReading& reading, const Vectors& vectors, size_t n,
                                    const CollectionSearch& asked, float* scores, int64_t* ids) const {
  if (asked.allow) {
    const Restricted some(reading, *asked.allow, n);
    CollectionSearch any = asked;
    any.allow.reset();
    return search_all(some.reading, vectors, n, any, scores, ids);
  }
  const size_t wanted = candidates(asked.k, asked.rescore);
  const size_t step = wanted > 0 ? std::max<size_t>(1, kPieceCandidates / wanted) : std::max<size_t>(1, n);
  for (size_t first = 0; first < n; first += step)
    search_piece(reading, vectors, first, std::min(step, n - first), asked, wanted, scores + first * asked.k,
                 ids + first * asked.k);
}

void CollectionSnapshot::search_piece(const CodeReading& reading, const Vectors& vectors, size_t first, size_t n,
                                      const CollectionSearch& asked, size_t wanted, float* scores, int64_t* ids) const {
  if (wanted > 0 && reading.in_place && wanted >= reading.rows)  // every row is a candidate
    return score_all(reading, vectors(first, n, false).data(), n, asked, scores, ids);
  ProjectedQueries queries(*model_, vectors(first, n, asked.coded), n);
  if (wanted == 0) return by_code(reading, queries, asked, asked.k, false, scores, ids);
  std::vector<float> unused(n * wanted);
  std::vector<int64_t> found(n * wanted);
  by_code(reading, queries, asked, wanted, true, unused.data(), found.data());
  const std::vector<float> uncoded = asked.coded ? vectors(first, n, false) : std::vector<float>();
  const std::vector<float>& exact = asked.coded ? uncoded : queries.vectors();
  rescore(exact.data(), n, asked, found.data(), wanted, scores, ids);
}

void CollectionSnapshot::by_code(const CodeReading& reading, ProjectedQueries& queries, const CollectionSearch& asked,
                                 size_t depth, bool exact_follows, float* scores, int64_t* ids) const {
  const size_t n = queries.size(), k = reading.has_lists ? std::max(depth, kLeastDepth) : depth;
  SearchOptions options;
  options.k = k;
  options.exact = asked.exact;
  options.batch_invariant = true;
  options.margin = reading.has_lists ? std::max(settings_.margin, kLeastMargin) : settings_.margin;
  options.nprobe = asked.exact ? kMostLists : 1;
  options.stop = asked.stop;
  options.work = asked.work;
  options.first_stage_rows = std::max({settings_.first_stage_rows, kFewestCandidates, 4 * k});
  if (asked.oversampling) {  // as a multiple of k, of which `depth` may be one already
    const size_t times = std::max<size_t>(1, (*asked.oversampling * asked.k + depth - 1) / depth);
    options.first_stage_rows = std::min(times * k, std::max<size_t>(settings_.rows, 1));
  }
  options.first_stage_rows = std::max(options.first_stage_rows, reading.candidates);
  std::vector<SegmentView> views = reading.views;
  for (size_t i = 0; i < views.size() && !asked.exact; ++i) {
    views[i].effort = reading.parts[i]->effort(k, asked);
    options.nprobe = std::max(options.nprobe, views[i].effort);
  }
  std::vector<float> least;
  if (asked.radius && !exact_follows) {  // exact scores are not those that the codes go by
    for (size_t i = 0; i < n; ++i) least.push_back(model_->min_score(*asked.radius, queries.offset()[i]));
    options.min_scores = least.data();
  }
  const auto whole = [&](const SegmentView& view) {
    return view.reader->by_whole_codes(n, options, reading.has_filters);
  };
  if (!asked.exact && !std::all_of(views.begin(), views.end(), whole)) queries.project_stage();
  QueryBatch batch(model_->spec(), queries.view());
  TopKBatch tops(n, k, options.min_scores);
  bebr::search(views, batch, options, tops);
  if (k == depth) {
    tops.write(scores, ids);
  } else {
    std::vector<float> all_scores(n * k);
    std::vector<int64_t> all_ids(n * k);
    tops.write(all_scores.data(), all_ids.data());
    for (size_t i = 0; i < n; ++i) {
      std::copy_n(all_scores.data() + i * k, depth, scores + i * depth);
      std::copy_n(all_ids.data() + i * k, depth, ids + i * depth);
    }
  }
  model_->to_metric(scores, n, depth, queries.offset().data());
}

}  // namespace bebr
