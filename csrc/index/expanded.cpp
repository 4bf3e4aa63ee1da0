#include "index/expanded.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "index/complete.h"
#include "index/floor_of_best.h"
#include "index/raise.h"

namespace bebr {
namespace {

// Rows expanded at a time: 96 KB at 384 dims. 64, 128: 3 to 6 % slower. By leading dims twice as many are 3 to 4 %
// faster, lists of an IVF slower.
constexpr size_t kChunkRows = 256, kLeadChunkRows = 512;
constexpr size_t kApart = 16;  // more than a chunk's rows from sums to sums: a power of two would fill few sets of L1
constexpr size_t kTogether = 64;  // visitors whose sums over a chunk stand in memory at a time: 64 or 128 KB
// Rounding a query to bytes gives every score an error. A row is dropped when its score, plus this many standard
// deviations of the error, stays below the k-th best score minus as many. So a row of the answer is lost only where the
// errors of the two rows differ by 4 deviations: 2.8 (4 / sqrt 2) of the difference of two independent errors.
constexpr float kDeviations = 2;
constexpr size_t kMostCandidates = 256;   // more than 2 k that wait before those that cannot matter any more go
constexpr size_t kListBytes = 64 << 20;   // of the candidates of all queries taken together
constexpr size_t kFirstCandidates = 128;  // that there is room for at once: nearly all queries have as many
constexpr size_t kAhead = 4;              // visitors whose candidates are asked for from memory ahead
constexpr size_t kPiece = 64;             // rows that one call of a kernel takes
constexpr size_t kFloatsFrom = 8;         // queries for which a factor is worth keeping as a float
// By leading dims: a row is dropped when its score, plus what the other dims may add, stays below the k-th best: the
// most that they have added to any row that was among the k best, and two standard deviations; no less than five
// (docs/experiments/leading-dims.md).
constexpr float kLeadDeviations = 2, kLeastDeviations = 5;
constexpr double kSaved = .75;  // by a tile more: of the rows that the others were added to for nothing

}  // namespace

size_t ExpandedScan::max_batch(size_t k) {
  const double each =
      (2.0 * static_cast<double>(k) + kMostCandidates) * sizeof(Candidate) + static_cast<double>(k) * sizeof(float);
  return std::clamp(static_cast<size_t>(kListBytes / each), size_t{32}, size_t{1024});
}

bool ExpandedScan::leads(size_t rows, const SearchOptions& options) {
  const Kernels& kernel = kernels();
  return kernel.tail_tiles > 0 && rows >= kernel.lead_rows && !options.exact && options.min_scores == nullptr;
}

ExpandedScan::ExpandedScan(const RowFormat& format, const ByteQueries& queries, const float* base, size_t k,
                           size_t rows, Thresholds& thresholds, bool exact)
    : format_(format),
      spec_(format.spec),
      kernels_(kernels()),
      k_(k),
      queries_(queries),
      chunk_rows_(queries.least_tiles < queries.tiles() ? kLeadChunkRows : kChunkRows),
      base_(base, base + queries.scale.size()),
      raises_(base_.size()),
      unseen_(base_.size()),
      expected_rows_(rows),
      thresholds_(thresholds),
      best_(base_.size(), k),
      lists_(base_.size()) {
  for (size_t i = 0; i < base_.size(); ++i)
    raises_[i] = exact ? exact_raise(queries_, i, base[i]) : kDeviations * queries_.deviation[i];
  read(queries.tiles());
  has_tail_.resize(chunk_rows_);
  floats_.resize(chunk_rows_ + 16);
  expanded_.resize(chunk_rows_ / kBlockRows * expanded_bytes(queries_.all_groups()));
  sums_.resize(kTogether * (chunk_rows_ + kApart));
  rows_.resize(chunk_rows_ + 16);
  scores_.resize(chunk_rows_ + 16);
}

// Reads so many tiles from now on.
void ExpandedScan::read(uint32_t tiles) {
  tiles_ = tiles;
  if (tiles == queries_.tiles()) return;
  const size_t tail_bytes = queries_.tail_bytes(tiles);
  tails_.resize(base_.size() * tail_bytes);
  row_tails_.resize(chunk_rows_ * tail_bytes);
  for (uint32_t i = 0; i < base_.size(); ++i) {
    const float rest = queries_.lead(tiles, i).rest, rounding = queries_.deviation[i];
    unseen_[i] = std::sqrt(rest * rest + rounding * rounding);
    queries_.copy_tail(i, tiles, tails_.as<int8_t>() + i * tail_bytes);
  }
}

void ExpandedScan::lead() {
  read(std::max(queries_.least_tiles, (queries_.tiles() + 1) / 2));
  last_choice_ = std::max(pairs_, base_.size() * chunk_rows_);
  next_choice_ = 2 * last_choice_;
  if (tiles_ == queries_.tiles()) return;
  for (uint32_t query = 0; query < base_.size(); ++query) {
    if (query + 1 < base_.size()) prefetch(query + 1);
    learn_tail(query);
  }
}

// Of the candidates so far, which all dims were read of.
void ExpandedScan::learn_tail(uint32_t query) {
  drop(query);
  const uint32_t tile = queries_.tail_tile(tiles_);
  const size_t tail_bytes = queries_.tail_bytes(tiles_);
  for (const Candidate& candidate : lists_[query].candidates) {
    int32_t added;
    kernels_.expand_tail(views_[candidate.view].scan(spec_), tile, &candidate.row, 1, candidate.row, row_tails_.data());
    kernels_.dot_tail(row_tails_.data(), tail_bytes, tails_.as<int8_t>() + query * tail_bytes, &candidate.row, 1,
                      candidate.row, &added);
    raise_tail(query, added);
  }
}

// By a row that the dims of the tail have added so much to.
void ExpandedScan::raise_tail(uint32_t query, int32_t added) {
  const float apart = queries_.base[query] - queries_.lead(tiles_, query).base;
  if (unseen_[query] > 0)
    thresholds_.raise_tail(query, (apart + queries_.scale[query] * static_cast<float>(added)) / unseen_[query]);
}

// As rows come, ever fewer of them are above the k best so far, or near: about as many each time that rows have
// doubled. A tile more is read where that costs less than what it saves of the rows to come.
void ExpandedScan::choose_tiles() {
  const auto count = static_cast<double>(base_.size()), seen = static_cast<double>(pairs_) / count;
  const double left = static_cast<double>(expected_rows_) - seen;
  const double doublings = std::log2(static_cast<double>(pairs_) / static_cast<double>(last_choice_));
  const double wasted = static_cast<double>(wasted_) / count / doublings;
  last_choice_ = pairs_;
  next_choice_ = 2 * pairs_;
  wasted_ = 0;
  if (left > 0 && kSaved * wasted * std::log2(1 + left / seen) * kernels_.tail_tiles > left) read(tiles_ + 1);
}

void ExpandedScan::scan(const RowView& view, const uint16_t* mask, std::span<const uint32_t> who, const RowView* next) {
  if (tiles_ < queries_.tiles() && pairs_ >= next_choice_) choose_tiles();
  pairs_ += view.rows * who.size();
  views_.push_back(view);
  const size_t query_bytes = 64 * size_t{tiles_}, stride = chunk_rows_ + kApart;
  if (y8_.size() < who.size() * query_bytes) y8_.resize(who.size() * query_bytes);
  for (size_t i = 0; i < who.size(); ++i) queries_.copy_query(who[i], tiles_, y8_.as<int8_t>() + i * query_bytes);
  for (size_t row = 0; row < view.rows; row += chunk_rows_) {
    const size_t rows = std::min(chunk_rows_, view.rows - row), blocks = block_count(rows);
    const uint16_t* allowed = mask != nullptr ? mask + row / kBlockRows : nullptr;
    if (allowed != nullptr && std::all_of(allowed, allowed + blocks, [](uint16_t m) { return m == 0; })) continue;
    expand(view, row / kBlockRows, blocks);
    if (tiles_ < queries_.tiles()) std::ranges::fill(has_tail_, uint8_t{0});
    read_factors(row, rows, who.size());
    Lines ahead = row + chunk_rows_ < view.rows ? lines(view, row + chunk_rows_)
                  : next != nullptr             ? lines(*next, 0)
                                                : Lines{};
    const size_t each = ahead.count() / who.size() + 1;
    for (size_t v = 0; v < who.size(); v += kTogether) {
      const size_t some = std::min(kTogether, who.size() - v);
      kernels_.dot_expanded(expanded_.data(), blocks, queries_.all_groups_in(tiles_),
                            y8_.as<int8_t>() + v * query_bytes, some, sums_.data(), stride);
      for (size_t i = 0; i < some; ++i) {
        const uint32_t query = who[v + i];
        const int32_t* mine = sums_.data() + i * stride;
        if (i + 2 * kAhead < some) prefetch_list(who[v + i + 2 * kAhead]);
        if (i + kAhead < some) lists_[who[v + i + kAhead]].prefetch_end();
        ahead.prefetch(each);
        if (thresholds_.of(query) == kLowest) set_threshold(query, mine, row, rows, allowed);
        const size_t kept = select(query, raise_of(query), thresholds_.of(query), mine, row, rows, allowed);
        collect(query, tiles_ < queries_.tiles() ? add_tails(query, mine, row, kept) : kept);
      }
    }
  }
}

// Blocks [first, first + blocks), as wide as the queries: a block at a time where these take more tiles than the code.
void ExpandedScan::expand(const RowView& view, size_t first, size_t blocks) {
  const uint32_t groups = queries_.groups_in(tiles_);
  const size_t bytes = kBlockRows * 64 * size_t{tiles_}, together = bytes > expanded_bytes(groups) ? 1 : blocks;
  for (size_t block = 0; block < blocks; block += together)
    kernels_.expand(view.scan(spec_), first + block, together, groups, expanded_.data() + block * bytes);
  queries_.copy_quads(blocks, tiles_, expanded_.data());
}

ExpandedScan::Lines ExpandedScan::lines(const RowView& view, size_t first) const {
  const size_t rows = std::min(chunk_rows_, view.rows - first);
  const uint8_t* sign = view.blocks + first / kBlockRows * block_bytes(spec_);
  const uint8_t* rest = view.rest + first * spec_.rest_bytes();
  return {{sign, sign + block_count(rows) * block_bytes(spec_)}, {rest, rest + rows * spec_.rest_bytes()}};
}

// The rows whose scores, raised by `raise`, are above `threshold`: into rows_ and scores_; how many.
size_t ExpandedScan::select(uint32_t query, float raise, float threshold, const int32_t* sums, size_t first,
                            size_t rows, const uint16_t* mask) {
  return kernels_.select(sums, rows, factors_.at, factors_.code, format_.factor, mask,
                         base_[query] + queries_.lead(tiles_, query).base + raise, queries_.scale[query], threshold,
                         static_cast<uint32_t>(first), rows_.data(), scores_.data());
}

// Of many queries each would read a factor again: once, as a float, is half of select's instructions. With a base of 1
// and a scale of 0 a score is the factor itself, whatever the sums. A factor that is no number would be left out.
void ExpandedScan::read_factors(size_t first, size_t rows, size_t queries) {
  const uint8_t* stored = views_.back().factors;
  const FactorCode& code = format_.code;
  factors_ = {stored != nullptr ? stored + first * code.bytes : nullptr, code, first};
  if (stored == nullptr || code.bytes == sizeof(float) || queries < kFloatsFrom) return;
  const size_t numbers = kernels_.select(sums_.data(), rows, factors_.at, code, Factor::Mul, nullptr, 1, 0, kLowest, 0,
                                         rows_.data(), floats_.data());
  if (numbers == rows) factors_ = {reinterpret_cast<const uint8_t*>(floats_.data()), {sizeof(float), 0, 0}, first};
}

// By the lower bounds of a query's first rows: nearly all of these would else become candidates.
void ExpandedScan::set_threshold(uint32_t query, const int32_t* sums, size_t first, size_t rows, const uint16_t* mask) {
  const bool leads = tiles_ < queries_.tiles();
  const size_t seen = select(query, leads ? 0 : -raises_[query], kLowest, sums, first, rows, mask);
  if (seen <= k_) return;
  float floor = floor_of_best({scores_.data(), seen}, k_, order_);
  if (leads) {  // the k best by leading dims: all dims of these
    size_t best = select(query, 0, std::nextafter(floor, kLowest), sums, first, rows, mask);
    best = add_tails(query, sums, first, best);
    if (best < k_) return;  // some scores are no numbers
    floor = lower_bound(query, 0);
    for (size_t i = 1; i < best; ++i) floor = std::min(floor, lower_bound(query, i));
  }
  thresholds_.raise(query, std::nextafter(floor, kLowest));
}

// What the score of a row so far has to be raised by.
float ExpandedScan::raise_of(uint32_t query) const {
  if (tiles_ == queries_.tiles()) return raises_[query];
  return std::max(thresholds_.tail(query) + kLeadDeviations, kLeastDeviations) * unseen_[query];
}

// Of the i-th of the rows in rows_, whose upper bounds are in scores_.
float ExpandedScan::lower_bound(uint32_t query, size_t i) const {
  const float raise = 2 * raises_[query];
  if (format_.factor != Factor::Mul) return scores_[i] - raise;
  return scores_[i] - raise * factors_.of(rows_[i]);
}

// Of the rows in rows_, of which sums[row - first] are those of the leading dims, leaves those that stay above the
// threshold with all dims; how many.
size_t ExpandedScan::add_tails(uint32_t query, const int32_t* sums, size_t first, size_t rows) {
  const uint32_t tile = queries_.tail_tile(tiles_);
  const size_t tail_bytes = queries_.tail_bytes(tiles_);
  const int8_t* tail = tails_.as<int8_t>() + query * tail_bytes;
  const float scale = queries_.scale[query], threshold = thresholds_.of(query);
  const float whole = base_[query] + queries_.base[query] + raises_[query];
  int32_t added[kPiece], most = INT32_MIN;
  size_t left = 0;
  for (size_t i = 0; i < rows; i += kPiece) {
    const size_t some = std::min(kPiece, rows - i);
    const uint32_t* these = rows_.data() + i;
    uint32_t fresh[kPiece];  // without a tail so far; without a branch: which ones cannot be foreseen
    size_t missing = 0;
    for (size_t j = 0; j < some; ++j) {
      fresh[missing] = these[j];
      missing += 1 - has_tail_[these[j] - first];
      has_tail_[these[j] - first] = 1;
    }
    if (missing > 0)
      kernels_.expand_tail(views_.back().scan(spec_), tile, fresh, missing, static_cast<uint32_t>(first),
                           row_tails_.data());
    kernels_.dot_tail(row_tails_.data(), tail_bytes, tail, these, some, static_cast<uint32_t>(first), added);
    for (size_t j = 0; j < some; ++j) {
      const uint32_t row = rows_[i + j];
      float score = whole + scale * static_cast<float>(sums[row - first] + added[j]);
      if (format_.factor == Factor::Mul) score *= factors_.of(row);
      if (format_.factor == Factor::Sub) score -= factors_.of(row);
      if (!(score > threshold)) continue;
      most = std::max(most, added[j]);
      rows_[left] = row;
      scores_[left++] = score;
    }
  }
  wasted_ += rows - left;
  if (left > 0) raise_tail(query, most);
  return left;
}

// Adds the rows in rows_, whose upper bounds are in scores_, to the candidates.
void ExpandedScan::collect(uint32_t query, size_t rows) {
  if (rows == 0) return;
  std::vector<Candidate>& candidates = lists_[query].candidates;
  const auto view = static_cast<uint32_t>(views_.size() - 1);
  const size_t before = candidates.size();
  if (candidates.capacity() == 0) candidates.reserve(std::max(kFirstCandidates, rows));
  candidates.resize(before + rows);
  for (size_t i = 0; i < rows; ++i) {
    Candidate& candidate = candidates[before + i];
    candidate.upper = scores_[i];
    candidate.view = view;
    candidate.row = rows_[i];
    const float lower = lower_bound(query, i);
    scores_[i] = lower > kLowest ? lower : kLowest;  // nor a NaN
  }
  const float worst = best_.add(query, {scores_.data(), rows});
  // An upper bound that equals the k-th lower one may still belong to the answer.
  if (worst > kLowest) thresholds_.raise(query, std::nextafter(worst, kLowest));
  if (candidates.size() > 2 * k_ + kMostCandidates) drop(query);
}

// Drops candidates that cannot belong to the answer any more.
void ExpandedScan::drop(uint32_t query) {
  const float threshold = thresholds_.of(query);
  std::vector<Candidate>& candidates = lists_[query].candidates;
  size_t left = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {  // without a branch: which of them stay cannot be foreseen
    const Candidate c = candidates[i];
    candidates[left] = c;
    left += c.upper > threshold ? 1 : 0;
  }
  candidates.resize(left);
}

size_t ExpandedScan::candidates(uint32_t query) {
  drop(query);
  return lists_[query].candidates.size();
}

void ExpandedScan::prefetch(uint32_t query) {
  drop(query);
  for (const Candidate& c : lists_[query].candidates) {
    const RowView& view = views_[c.view];
    for (uint32_t g = 0; g < spec_.groups(); g += 4)
      __builtin_prefetch(view.blocks + sign_offset(spec_.groups(), c.row, g), 0, 2);
    const uint8_t* rest = view.rest + size_t{c.row} * spec_.rest_bytes();
    for (uint32_t at = 0; at < spec_.rest_bytes(); at += 64) __builtin_prefetch(rest + at, 0, 2);
    if (spec_.rest_bytes() > 0)
      __builtin_prefetch(rest + spec_.rest_bytes() - 1, 0, 2);  // a row begins anywhere in a line
    if (view.factors != nullptr) __builtin_prefetch(view.factors + size_t{c.row} * format_.code.bytes, 0, 2);
    __builtin_prefetch(view.ids + c.row, 0, 2);
  }
}

size_t ExpandedScan::finalize(uint32_t query, const FineQuery& fine, TopK& top) {
  QueryCandidates& list = lists_[query];
  drop(query);
  constexpr size_t kPiece = 64;
  uint32_t rows[kPiece];
  for (size_t i = 0; i < list.candidates.size();) {  // they stand view after view
    const Candidate& first = list.candidates[i];
    size_t n = 0;
    for (; i < list.candidates.size() && list.candidates[i].view == first.view && n < kPiece; ++i)
      rows[n++] = list.candidates[i].row;
    complete_rows(format_, views_[first.view], fine, base_[query], {rows, n}, top);
  }
  const size_t completed = list.candidates.size();
  list.candidates.clear();
  return completed;
}

void raise_threshold(const std::vector<std::optional<ExpandedScan>>& scans, size_t k, uint32_t query,
                     Thresholds& thresholds) {
  if (scans.size() == 1) return;
  std::vector<float> best;
  for (const std::optional<ExpandedScan>& scan : scans) {
    const std::span<const float> own = scan->best(query);
    best.insert(best.end(), own.begin(), own.end());
  }
  if (best.size() < k) return;
  const auto last = best.begin() + static_cast<ptrdiff_t>(k - 1);
  std::nth_element(best.begin(), last, best.end(), std::greater<>());
  thresholds.raise(query, std::nextafter(*last, kLowest));
}

}  // namespace bebr
