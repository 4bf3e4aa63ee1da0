// Scan the sign plane chunk by chunk with integer sums (kernels scan_table, scan_batch), turn sums into scores and keep
// what passes a rising threshold (select), complete the kept rows over all planes (complete).
//
// Progressive: keep the best survivors by the sign plane's score, complete those at the end.
// Many queries at once: whole codes (expanded.h), which is faster from some dozens of them on.
// Exact: scores are raised by a bound on what the sign plane cannot see (scan_margin); rows whose bound still reaches
// the k-th final score are completed at once, and the k-th score rises. Nothing that belongs to the answer is lost.
#include "index/flat/scan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/scratch.h"
#include "base/threads.h"
#include "index/complete.h"
#include "index/expanded.h"
#include "index/flat/survivors.h"

namespace bebr {
namespace {

constexpr size_t kGroup = 256;             // queries scanned together: their integer forms stay in L2
constexpr size_t kExpandedFrom = 8;        // of Kernels::expand_queries: sign planes alone rule out nearly all rows
constexpr size_t kMostChunkRows = 1024;    // of a chunk, so that the first threshold does not come too late
constexpr size_t kChunkBytes = 16 * 1024;  // of codes, and about as much of sums: L1, when tables are looked up
constexpr size_t kFewestPartRows = 4096;   // less work than this is not worth a thread
constexpr size_t kPieceBlocks = 4096;      // scanned by whole codes before `stop` is looked at

constexpr size_t kAlign = 4;          // blocks: parts begin at multiples, so that their filters are read in whole words
constexpr size_t kCopyCost = 150;     // copying a row out costs about as much as passing over this many in a scan
constexpr size_t kCompleteCost = 64;  // and completing it as scanning this many

// A sample of every kSampleStep-th run of blocks guesses the score that the worst survivor will have.
constexpr size_t kSampleBlocks = 4, kSampleStep = 16;

// The survivors of some queries, and the memory they stand in.
struct Kept {
  Scratch memory;
  std::vector<Survivors> lists;

  Kept(size_t queries, size_t limit, size_t chunk, const float* thresholds)
      : memory(queries * Survivors::bytes(limit, chunk)) {
    lists.reserve(queries);
    for (size_t i = 0; i < queries; ++i)
      lists.emplace_back(limit, chunk, memory.data() + i * Survivors::bytes(limit, chunk), thresholds[i]);
  }
};

// All parts as one row of blocks. Rows have numbers through all of them; those of a part begin at a multiple of 64.
class FlatScan {
 public:
  FlatScan(const RowFormat& format, std::span<const FlatPart> parts, QueryBatch& queries, const SearchOptions& options,
           TopKBatch& tops)
      : format_(format),
        spec_(format.spec),
        parts_(parts.begin(), parts.end()),
        queries_(queries),
        options_(options),
        tops_(tops),
        kernels_(kernels()) {
    size_t next = 0;
    for (const FlatPart& part : parts_) {
      first_.push_back(static_cast<uint32_t>(next));
      filtered_ = filtered_ || part.filter.filtered();
      rows_ += part.rows.rows;
      next = round_up(next + part.rows.rows, kAlign * kBlockRows);
      if (next > UINT32_MAX) fail(ErrorCode::LimitExceeded, "a flat scan covers at most 2^32 - 64 rows");
    }
    first_.push_back(static_cast<uint32_t>(next));
    blocks_ = next / kBlockRows;
  }

  void run() {
    choose();
    if (copied_) return scan_flat(format_, {&*copied_, 1}, queries_, copy_options_, tops_);
    if (eligible_ == 0) return;
    fine_ = queries_.fine().data();
    if (direct_) {
      parallel_for(queries_.size(), 1, [&](size_t begin, size_t end) {
        for (size_t q = begin; q < end; ++q) complete(q, chosen_, tops_[q]);
      });
      return;
    }
    expands_ = flat_expands(queries_.size(), options_);
    if (!expands_) tables_ = options_.exact ? &queries_.exact_tables() : &queries_.stage_tables();
    const size_t group = expands_ ? ExpandedScan::max_batch(options_.k) : kGroup;
    for (size_t first = 0; first < queries_.size(); first += group)
      run_group(first, std::min(group, queries_.size() - first));
  }

 private:
  // --- which rows, and in which way
  void choose() {
    for (const FlatPart& part : parts_) {
      const RowFilter& filter = part.filter;
      const bool counted = filter.dead_rows != RowFilter::kUncounted;
      const size_t live =
          counted ? part.rows.rows - filter.dead_rows
                  : RowFilter{{}, nullptr, filter.dead, RowFilter::kUncounted}.count(part.first, part.rows.rows);
      live_ += live;
      eligible_ += filter.filtered() ? filter.count(part.first, part.rows.rows) : live;
    }
    if (options_.first_stage_rows == 0) survivors_ = default_first_stage_rows(options_.k, live_);
    survivors_ = std::max({survivors_, options_.first_stage_rows, options_.k});
    if (eligible_ == 0) return;
    const size_t few = options_.exact ? 0 : survivors_;
    direct_ = eligible_ <= few || (filtered_ && eligible_ <= live_ / kCompleteCost);
    if (filtered_ && queries_.size() * (live_ - eligible_) >= kCopyCost * eligible_) copy(few);
    if (copied_) return;
    if (direct_) {
      chosen_.reserve(eligible_);
      each_eligible([&](size_t p, size_t row) { chosen_.push_back(first_[p] + static_cast<uint32_t>(row)); });
      return;
    }
    make_bitmaps();
  }

  // A batch that may find few rows pays for a copy of them alone.
  void copy(size_t few) {
    copy_options_ = options_;
    copy_options_.first_stage_rows = survivors_;
    if (direct_ && eligible_ > few && !options_.exact && options_.batch_invariant) {
      // All of these are to be completed, whoever asks; an exact scan gives the same scores.
      if (queries_.size() < kCopyCost / kCompleteCost) return;
      copy_options_.exact = true;
    }
    store_.reserve(format_, eligible_);
    std::vector<uint32_t> rows;
    for (size_t p = 0; p < parts_.size(); ++p) {
      rows.clear();
      const FlatPart& part = parts_[p];
      part.filter.each(part.first, part.rows.rows,
                       [&](size_t at) { rows.push_back(static_cast<uint32_t>(at - part.first)); });
      store_.append(format_, part.rows, rows);
    }
    copied_ = FlatPart{store_.view(), {}, 0};
  }

  template <typename Fn>
  void each_eligible(const Fn& fn) const {
    for (size_t p = 0; p < parts_.size(); ++p)
      parts_[p].filter.each(parts_[p].first, parts_[p].rows.rows, [&](size_t at) { fn(p, at - parts_[p].first); });
  }

  // Masks are made of bitmaps, not of lists.
  void make_bitmaps() {
    for (FlatPart& part : parts_) {
      if (part.filter.rows == nullptr) continue;
      bitmaps_.emplace_back(words_for(part.first + part.rows.rows));
      for (const uint32_t row : *part.filter.rows)
        if (row < 64 * bitmaps_.back().size()) set_bit(bitmaps_.back(), row);
      part.filter.allow = view_of(bitmaps_.back());
      part.filter.rows = nullptr;
    }
  }

  // --- rows by their numbers
  size_t part_of(uint32_t row) const {
    return static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), row) - first_.begin() - 1);
  }
  int64_t id_of(uint32_t row) const {
    const size_t p = part_of(row);
    return parts_[p].rows.ids[row - first_[p]];
  }

  void complete(size_t q, std::span<const uint32_t> rows, TopK& top) const {
    constexpr size_t kPiece = 1024;  // until `stop` is looked at
    uint32_t local[kPiece];
    for (size_t i = 0; i < rows.size();) {  // they stand part after part
      check_stop(options_);
      const size_t p = part_of(rows[i]);
      size_t n = 0;
      for (; i < rows.size() && rows[i] < first_[p + 1] && n < kPiece; ++i) local[n++] = rows[i] - first_[p];
      complete_rows(format_, parts_[p].rows, fine_[q], queries_.base()[q], {local, n}, top);
    }
  }

  // --- the scan
  // fn(part, block of the part, blocks) for pieces of blocks [first, last), each `most` long at most, every step-th.
  template <typename Fn>
  void each_chunk(size_t first, size_t last, size_t most, size_t step, const Fn& fn) const {
    size_t next = first;
    for (size_t p = 0; p < parts_.size(); ++p) {
      const size_t begin = first_[p] / kBlockRows, end = begin + block_count(parts_[p].rows.rows);
      for (size_t b = std::max(next, begin); b < std::min(last, end); b = next) {
        check_stop(options_);
        const size_t blocks = std::min({most, last - b, end - b});
        next = step == 1 ? b + blocks : b + step * most;
        fn(p, b - begin, blocks);
      }
    }
  }

  // Calls keep(query of the group, sums, rows, first row, mask, part) for chunks of blocks [first, last).
  template <typename Keep>
  void scan(size_t q0, size_t nq, size_t first, size_t last, size_t chunk, size_t step, const Keep& keep) const {
    const size_t bytes = block_bytes(spec_);
    std::vector<int32_t> sums(std::min<size_t>(nq, kernels_.batch_queries) * chunk * kBlockRows);
    uint16_t masks[kMostChunkRows / kBlockRows];
    each_chunk(first, last, chunk, step, [&](size_t p, size_t block, size_t blocks) {
      const FlatPart& part = parts_[p];
      const size_t row = block * kBlockRows, stride = blocks * kBlockRows;
      const size_t rows = std::min(stride, part.rows.rows - row);
      const uint16_t* mask = part.filter.all() ? nullptr : masks;
      if (mask != nullptr && !part.filter.masks(part.first + row, rows, masks)) return;
      for (size_t i = 0; i < nq; i += kernels_.batch_queries) {
        const size_t some = std::min<size_t>(kernels_.batch_queries, nq - i);
        const ScanQueries view = tables_->view(static_cast<uint32_t>(q0 + i), static_cast<uint32_t>(some));
        (some <= 8 ? kernels_.scan_table : kernels_.scan_batch)(part.rows.blocks + block * bytes, blocks, view,
                                                                sums.data(), stride);
        for (size_t j = 0; j < some; ++j) keep(i + j, sums.data() + j * stride, rows, row, mask, p);
      }
    });
  }

  size_t chunk_blocks(size_t nq) const {
    const size_t together = std::min<size_t>(nq, kernels_.batch_queries);
    const size_t rows = together <= 8 ? kChunkBytes / spec_.groups() : 256;
    return std::clamp(rows / (4 * kBlockRows) * 4, size_t{4}, kMostChunkRows / kBlockRows);
  }

  // fn(first block, last block) for each thread's share of the blocks.
  template <typename Result, typename Share>
  std::vector<std::optional<Result>> by_shares(const Share& fn) const {
    const size_t shares = std::clamp(rows_ / kFewestPartRows, size_t{1}, num_threads());
    const size_t share = round_up((blocks_ + shares - 1) / shares, kAlign);
    std::vector<std::optional<Result>> results(shares);
    parallel_for(shares, 1, [&](size_t begin, size_t end) {
      for (size_t s = begin; s < end; ++s) {
        const size_t first = std::min(s * share, blocks_);
        results[s].emplace(fn(first, std::min(first + share, blocks_)));
      }
    });
    return results;
  }

  void run_group(size_t q0, size_t nq) {
    if (expands_) return run_expanded(q0, nq);
    if (options_.exact) return run_exact(q0, nq);
    run_progressive(q0, nq);
  }

  // --- progressive
  void run_progressive(size_t q0, size_t nq) {
    const std::vector<float> guess = guess_thresholds(q0, nq);
    const auto kept = by_shares<Kept>([&](size_t first, size_t last) {
      return survivors(q0, nq, first, last, chunk_blocks(nq), 1, survivors_, guess.data());
    });
    parallel_for(nq, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const size_t q = q0 + i;
        Kept all = merged(kept, i, survivors_);
        if (all.lists[0].size() < survivors_ && guess[i] > kLowest)  // guessed too high: again, without a guess
          complete_best(q, survivors(q, 1, 0, blocks_, chunk_blocks(1), 1, survivors_, &kLowest));
        else
          complete_best(q, std::move(all));
      }
    });
  }

  // Exactly the best: an answer must not depend on how the rows were shared out.
  void complete_best(size_t q, Kept kept) {
    kept.lists[0].cut([this](uint32_t row) { return id_of(row); });
    complete(q, kept.lists[0].rows(), tops_[q]);
  }

  Kept survivors(size_t q0, size_t nq, size_t first, size_t last, size_t chunk, size_t step, size_t limit,
                 const float* thresholds) const {
    Kept kept(nq, limit, chunk * kBlockRows, thresholds);
    const float* base = queries_.stage_base() + q0;
    scan(q0, nq, first, last, chunk, step,
         [&](size_t i, const int32_t* sums, size_t rows, size_t row, const uint16_t* mask, size_t p) {
           Survivors& s = kept.lists[i];
           const RowView& view = parts_[p].rows;
           const bool own = view.stage_factors != nullptr;
           const FactorCode& code = own ? format_.stage_code : format_.code;
           const uint8_t* factors = own ? view.stage_factors : view.factors;
           const size_t n = kernels_.select(sums, rows, factors != nullptr ? factors + row * code.bytes : nullptr, code,
                                            format_.factor, mask, base[i], tables_->scale[q0 + i], s.threshold(),
                                            first_[p] + static_cast<uint32_t>(row), s.next_rows(), s.next_scores());
           s.grow(n, [this](uint32_t at) { return id_of(at); });
         });
    return kept;
  }

  // The list of query i over all shares.
  static Kept merged(const std::vector<std::optional<Kept>>& shares, size_t i, size_t limit) {
    size_t total = 0;
    for (const auto& share : shares) total += share->lists[i].size();
    Kept all(1, limit, total, &kLowest);
    for (const auto& share : shares) {
      const Survivors& from = share->lists[i];
      std::copy_n(from.rows().begin(), from.size(), all.lists[0].next_rows());
      std::copy_n(from.scores().begin(), from.size(), all.lists[0].next_scores());
      all.lists[0].take(from.size());
    }
    return all;
  }

  // A score below that of the worst survivor, nearly always: the sample's rank, raised by three standard deviations.
  // Without it the threshold climbs from nothing, and ten times as many rows are kept and cut again.
  std::vector<float> guess_thresholds(size_t q0, size_t nq) const {
    std::vector<float> guess(nq, kLowest);
    if (rows_ < 4 * survivors_ || rows_ < 8 * kSampleBlocks * kSampleStep * kBlockRows) return guess;
    const double expected = static_cast<double>(survivors_) / kSampleStep;
    const size_t rank = static_cast<size_t>(expected + 3 * std::sqrt(expected)) + 4;
    const std::vector<float> any(nq, kLowest);
    const auto kept = by_shares<Kept>([&](size_t first, size_t last) {
      return survivors(q0, nq, first, last, kSampleBlocks, kSampleStep, rank, any.data());
    });
    for (size_t i = 0; i < nq; ++i) guess[i] = merged(kept, i, rank).lists[0].nth_best(rank);
    return guess;
  }

  // --- exact
  void run_exact(size_t q0, size_t nq) {
    std::vector<float> raised(nq);
    for (size_t i = 0; i < nq; ++i) {
      const size_t q = q0 + i;
      const int8_t* y8 = tables_->y8.as<int8_t>() + q * y8_stride(tables_->groups);
      const double base = double{queries_.base()[q]};
      raised[i] =
          static_cast<float>(base + scan_margin(spec_, fine_[q], y8, tables_->scale[q]) + 1e-5 * std::abs(base));
    }
    const auto found = by_shares<std::vector<TopK>>(
        [&](size_t first, size_t last) { return exact_share(q0, raised, first, last, chunk_blocks(nq)); });
    parallel_for(nq, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)
        for (const auto& share : found)
          for (const Hit& hit : (*share)[i].hits()) tops_[q0 + i].push(hit);
    });
  }

  std::vector<TopK> exact_share(size_t q0, const std::vector<float>& raised, size_t first, size_t last,
                                size_t chunk) const {
    std::vector<TopK> found;
    for (size_t i = 0; i < raised.size(); ++i) found.emplace_back(options_.k, tops_[q0 + i].threshold());
    std::vector<uint32_t> rows_kept(chunk * kBlockRows + 16);
    std::vector<float> scores_kept(rows_kept.size());
    scan(q0, raised.size(), first, last, chunk, 1,
         [&](size_t i, const int32_t* sums, size_t rows, size_t row, const uint16_t* mask, size_t p) {
           const RowView& view = parts_[p].rows;
           const FactorCode& code = format_.code;
           const size_t n =
               kernels_.select(sums, rows, view.factors != nullptr ? view.factors + row * code.bytes : nullptr, code,
                               format_.factor, mask, raised[i], tables_->scale[q0 + i], found[i].threshold(),
                               static_cast<uint32_t>(row), rows_kept.data(), scores_kept.data());
           complete_rows(format_, view, fine_[q0 + i], queries_.base()[q0 + i], {rows_kept.data(), n}, found[i]);
         });
    return found;
  }

  // --- by whole codes
  void run_expanded(size_t q0, size_t nq) {
    // Made once for all shares: a thread of many scans little more than it would take to make the queries.
    const ByteQueries bytes =
        make_byte_queries(spec_, (options_.exact ? queries_.exact_y() : queries_.y()) + q0 * spec_.dims(), nq);
    std::vector<float> min_scores(nq);
    for (size_t i = 0; i < nq; ++i) min_scores[i] = tops_[q0 + i].threshold();
    auto scans = by_shares<ExpandedScan>([&](size_t first, size_t last) {
      ExpandedScan expanded(format_, bytes, queries_.base() + q0, options_.k, min_scores.data(), options_.exact);
      std::vector<uint32_t> who(nq);
      std::iota(who.begin(), who.end(), 0u);
      std::vector<uint16_t> masks(kPieceBlocks);
      each_chunk(first, last, kPieceBlocks, 1, [&](size_t p, size_t block, size_t blocks) {
        const FlatPart& part = parts_[p];
        const size_t row = block * kBlockRows, rows = std::min(blocks * kBlockRows, part.rows.rows - row);
        if (!part.filter.all() && !part.filter.masks(part.first + row, rows, masks.data())) return;
        expanded.scan(part.rows.part(format_, row, rows), part.filter.all() ? nullptr : masks.data(), who);
      });
      return expanded;
    });
    parallel_for(nq, 1, [&](size_t begin, size_t end) {
      for (auto i = static_cast<uint32_t>(begin); i < end; ++i) {
        raise_thresholds(scans, i);
        for (auto& scan : scans) {
          if (i + 1 < end) scan->prefetch(i + 1);
          scan->finalize(i, fine_[q0 + i], tops_[q0 + i]);
        }
      }
    });
  }

  // Shares know the k best of their own rows; candidates are those of all rows together, however these were shared out.
  void raise_thresholds(std::vector<std::optional<ExpandedScan>>& scans, uint32_t query) const {
    if (scans.size() == 1) return;
    std::vector<float> best;
    for (const auto& scan : scans) {
      const std::span<const float> own = scan->best(query);
      best.insert(best.end(), own.begin(), own.end());
    }
    if (best.size() < options_.k) return;
    const auto last = best.begin() + static_cast<ptrdiff_t>(options_.k - 1);
    std::nth_element(best.begin(), last, best.end(), std::greater<>());
    for (auto& scan : scans) scan->raise_threshold(query, std::nextafter(*last, kLowest));
  }

  const RowFormat& format_;
  const CodeSpec& spec_;
  std::vector<FlatPart> parts_;
  std::vector<uint32_t> first_;  // number of each part's first row, and one past the last part
  QueryBatch& queries_;
  const SearchOptions& options_;
  TopKBatch& tops_;
  const Kernels& kernels_;
  size_t rows_ = 0, blocks_ = 0, live_ = 0, eligible_ = 0, survivors_ = 0;
  bool filtered_ = false;
  bool expands_ = false;  // by whole codes
  bool direct_ = false;   // few rows to look at: all of chosen_ are completed, nothing is scanned
  std::vector<uint32_t> chosen_;
  std::vector<std::vector<uint64_t>> bitmaps_;  // of filters that came as lists
  RowStore store_;                              // the eligible rows alone
  std::optional<FlatPart> copied_;              // what is searched instead
  SearchOptions copy_options_;
  const FineQuery* fine_ = nullptr;
  const LutQueries* tables_ = nullptr;
};

}  // namespace

bool flat_expands(size_t queries, const SearchOptions& options) {
  const size_t from = kernels().expand_queries;
  return (options.exact || !options.batch_invariant) && from > 0 && queries >= kExpandedFrom * from;
}

void scan_flat(const RowFormat& format, std::span<const FlatPart> parts, QueryBatch& queries,
               const SearchOptions& options, TopKBatch& tops) {
  if (queries.size() > 0) FlatScan(format, parts, queries, options, tops).run();
}

}  // namespace bebr
