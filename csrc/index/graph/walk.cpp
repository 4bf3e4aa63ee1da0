#include "index/graph/walk.h"

#include <algorithm>
#include <cstring>

#include "code/layout.h"
#include "index/graph/margin.h"

namespace bebr {
namespace {

constexpr size_t kStarts = 4;

// The first `bytes` of every `stride` bytes.
template <uint32_t bytes>
void gather_factors(const uint8_t* from, uint32_t stride, uint32_t count, uint8_t* to) {
  for (uint32_t i = 0; i < count; ++i) std::memcpy(to + size_t{i} * bytes, from + size_t{i} * stride, bytes);
}

void gather_factors(const uint8_t* from, uint32_t stride, uint32_t bytes, uint32_t count, uint8_t* to) {
  if (bytes == 1 && stride == 2) return gather_factors<1>(from, 2, count, to);
  if (bytes == 1) return gather_factors<1>(from, stride, count, to);
  if (bytes == 2) return gather_factors<2>(from, stride, count, to);
  gather_factors<4>(from, stride, count, to);
}

}  // namespace

WalkLanes& WalkLanes::mine() {
  thread_local WalkLanes lanes;
  return lanes;
}

void Walk::begin(const GraphView& view, size_t ef, const WalkBound& bound, float margin) {
  found.reset(ef, bound);
  scanned = survivors = 0;
  if (walking_) {  // stopped, or out of memory
    std::fill(visited_.begin(), visited_.end(), 0);
    seen_count_ = 0;
  }
  walking_ = true;
  const size_t words = (view.rows + 63) / 64, room = view.layout.degree + kStarts + 1;
  if (visited_.size() < words) visited_.resize(words);
  if (seen_.size() < room) seen_.resize(room);
  if (passed_.size() < room) passed_.resize(room);
  if (inserted_.size() < room) inserted_.resize(room);
  if (scores_.size() < room) scores_.resize(room);
  const size_t near_rows = view.layout.near_blocks * kBlockRows;
  if (sums_.size() < std::max(room, near_rows)) sums_.resize(std::max(room, near_rows));
  if (kept_.size() < near_rows) kept_.resize(near_rows);
  if (near_factors_.size() < near_rows * sizeof(float)) near_factors_.resize(near_rows * sizeof(float));
  if (kept_scores_.size() < near_rows) kept_scores_.resize(near_rows);
  margin_ = margin;
  descends_ = view.layout.near > 0 && margin < kUsualMargin;
}

bool Walk::step(const GraphView& view) {
  switch (next_) {
    case Step::Descend:
      descend(view);
      return true;
    case Step::Hop:
      if (view.layout.near > 0) {
        next_ = Step::Complete;
        return hop_by_scan(view);
      }
      next_ = Step::Judge;
      return hop(view);
    case Step::Judge:
      judge(view);
      next_ = Step::Complete;
      return true;
    case Step::Complete:
      complete(view);
      next_ = Step::Hop;
      return true;
  }
  return false;
}

// The best entries are the first to be completed.
void Walk::enter(const GraphView& view, EntrySample& entries) {
  slack_ = margin_ * (view.layout.near > 0 ? query.near.spread : query.spread);
  std::array<Candidate, kStarts> best;
  const size_t n = entries.choose(view, query, best);
  scanned += entries.size();
  for (size_t i = 0; i < n; ++i) {
    const uint32_t node = best[i].node;
    visited_[node / 64] |= uint64_t{1} << node % 64;
    seen_[seen_count_++] = passed_[i] = node;
    ask(view.record(node), 0, view.layout.factors);
  }
  passed_count_ = n;
  next_ = Step::Complete;
  if (n > 0 && descends_) begin_descent(view, best[0]);
}

// To the best candidate: who of its neighbours is new?
bool Walk::hop(const GraphView& view) {
  uint32_t node;
  if (!found.take(node)) {
    end();
    return false;
  }
  const RecordLayout& layout = view.layout;
  if (seen_.size() < seen_count_ + layout.degree) seen_.resize(2 * seen_.size() + layout.degree);
  const uint8_t* links = view.record(node) + layout.links;
  uint32_t* seen = seen_.data();
  size_t n = seen_count_;
  near_ = n;
  for (uint32_t i = 0; i < layout.degree; ++i) {
    const uint32_t link = load_link(links + 4 * i);
    if (link >= view.rows) {
      if (link == kNoLink) break;
      continue;
    }
    // About half are new, which no processor foresees, so this has no branch: 15 to 20 % faster
    // (docs/experiments/graph-walk.md). The same goes for judge().
    ask(view.record(link), 0, 64);
    uint64_t& word = visited_[link / 64];
    seen[n] = link;
    n += ~word >> link % 64 & 1;
    word |= uint64_t{1} << link % 64;
  }
  seen_count_ = n;
  return true;
}

// The numbers of those neighbours that may be good enough by their bytes in the record. Two blocks at a time: that is
// what kernels have registers for, and they ask for nothing beyond.
std::span<const uint32_t> Walk::scan_neighbours(const GraphView& view, const uint8_t* record, float slack,
                                                float threshold) {
  constexpr size_t kTogether = 2;
  constexpr int32_t kNoBias = 0;
  const RecordLayout& layout = view.layout;
#if defined(__SANITIZE_THREAD__)
  // A word that changes while a kernel reads it does no harm (neighbours.h), which the sanitizer cannot know.
  static thread_local std::vector<uint8_t> copy;
  copy.resize(layout.stride);
  for (size_t at = layout.near_factors; at < layout.stride; at += 4) {
    const uint32_t word = load_link(record + at);
    std::memcpy(copy.data() + at, &word, sizeof word);
  }
  record = copy.data();
#endif
  const ScanQueries tables{1, layout.near, query.near.tables.data(), nullptr, &kNoBias};
  for (size_t block = 0; block < layout.near_blocks; block += kTogether)
    view.kernels.scan_table(record + layout.near_codes + block * layout.near * kBlockRows,
                            std::min(kTogether, layout.near_blocks - block), tables, sums_.data() + block * kBlockRows,
                            kTogether * kBlockRows);
  const Factor mode = layout.factor_bytes > 0 ? view.mode : Factor::None;
  const uint8_t* factors = record + layout.near_factors;
  if (layout.factor_bytes > view.code.bytes) {  // the first stage's own lies between them
    gather_factors(factors, layout.factor_bytes, view.code.bytes, layout.degree, near_factors_.data());
    factors = near_factors_.data();
  }
  const size_t n = view.kernels.select(sums_.data(), layout.degree, factors, view.code, mode, nullptr,
                                       query.base - query.near.offset + slack, query.near.scale, threshold, 0,
                                       kept_.data(), kept_scores_.data());
  return {kept_.data(), n};
}

// The same by the bytes that the candidate's own record has of its neighbours: only those that may be good are told
// from those seen before, so one that is bad is scanned again wherever it is met.
bool Walk::hop_by_scan(const GraphView& view) {
  uint32_t node;
  if (!found.take(node)) {
    end();
    return false;
  }
  const RecordLayout& layout = view.layout;
  const uint8_t* record = view.record(node);
  const std::span<const uint32_t> near = scan_neighbours(view, record, slack_, found.threshold());
  scanned += layout.degree;
  if (seen_.size() < seen_count_ + near.size()) seen_.resize(2 * seen_.size() + near.size());
  size_t good = 0;
  for (size_t i = 0; i < near.size(); ++i) {
    const uint32_t link = load_link(record + layout.links + 4 * size_t{near[i]});
    if (link >= view.rows) continue;  // there is none, too
    uint64_t& word = visited_[link / 64];
    passed_[good] = link;
    kept_scores_[good] = kept_scores_[i];
    good += ~word >> link % 64 & 1;
    word |= uint64_t{1} << link % 64;
  }
  if (descends_ && 4 * good > 3 * size_t{layout.degree}) good = better_half(good);
  passed_count_ = good;
  for (size_t i = 0; i < good; ++i) {
    seen_[seen_count_++] = passed_[i];
    ask(view.record(passed_[i]), 0, layout.factors);
  }
  return true;
}

// What a scan of the next candidate's neighbours will read.
void Walk::ask_next(const GraphView& view) {
  uint32_t node;
  if (found.peek(node)) ask(view.record(node), view.layout.links / 64 * 64, view.layout.stride);
}

// By their first lines: who of them may be good enough?
void Walk::judge(const GraphView& view) {
  const std::span<const uint32_t> near(seen_.data() + near_, seen_count_ - near_);
  const float scale = score_first_lines(view, near), threshold = found.threshold();
  scanned += near.size();
  uint32_t* passed = passed_.data();
  size_t good = 0;
  for (size_t i = 0; i < near.size(); ++i) {
    const float raw = query.base + scale * static_cast<float>(sums_[i]) + slack_;
    passed[good] = near[i];
    good += view.score(raw, load_float(view.record(near[i]))) > threshold ? 1 : 0;
  }
  passed_count_ = good;
  for (size_t i = 0; i < good; ++i) ask(view.record(passed[i]), 64, view.layout.factors);
}

// By all their bits: who is?
void Walk::complete(const GraphView& view) {
  const RecordLayout& layout = view.layout;
  view.dot_codes(query, passed_.data(), passed_count_, sums_.data());
  survivors += passed_count_;
  for (size_t i = 0; i < passed_count_; ++i) {
    const float raw = query.base + query.scale16 * static_cast<float>(sums_[i]);
    scores_[i] = view.score(raw, load_float(view.record(passed_[i])));
  }
  const size_t inserted = found.insert(view.kernels, scores_.data(), passed_.data(), passed_count_, inserted_.data());
  if (layout.near > 0) return ask_next(view);
  for (size_t i = 0; i < inserted; ++i)
    ask(view.record(inserted_[i]), layout.links / 64 * 64, layout.links + 4 * size_t{layout.degree});
}

void Walk::end() {
  for (size_t i = 0; i < seen_count_; ++i) visited_[seen_[i] / 64] = 0;
  seen_count_ = 0;
  walking_ = false;
}

float Walk::score_first_lines(const GraphView& view, std::span<const uint32_t> slots) {
  const RecordLayout& layout = view.layout;
  if (query.wide) {
    view.kernels.dot_bits16(view.nodes + kCodeAt, layout.stride, layout.prefix, layout.digits.bits.data(),
                            query.first16.as<int16_t>(), query.total_first16, slots.data(), slots.size(), sums_.data());
    return query.scale16;
  }
  view.kernels.dot_bits8(view.nodes + kCodeAt, layout.stride, layout.prefix, query.y8.as<int8_t>(), query.total8,
                         slots.data(), slots.size(), sums_.data());
  return query.scale8;
}

}  // namespace bebr
