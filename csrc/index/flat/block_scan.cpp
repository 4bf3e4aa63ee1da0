// Scan the sign plane chunk by chunk with integer sums (kernels scan_table, scan_batch), turn sums into scores and keep
// what passes a rising threshold (select), complete the kept rows over all planes (complete).
//
// Progressive: keep the best survivors by the sign plane's score, complete those at the end. Where trailing dims hardly
// change that score, their signs are not read, and some more rows are kept.
// Many queries at once: whole codes (expanded.h), which is faster from some dozens of them on.
// Exact: scores are raised by a bound on what the sign plane cannot see (scan_margin); rows whose bound still reaches
// the k-th final score are completed at once, and the k-th score rises. Nothing that belongs to the answer is lost.
#include "index/flat/block_scan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/scratch.h"
#include "base/threads.h"
#include "index/complete.h"
#include "index/expanded.h"
#include "index/flat/survivors.h"
#include "index/flat/whole_sums.h"
#include "index/tile_choice.h"

namespace bebr {
namespace {

constexpr size_t kGroup = 256;             // queries scanned together: their integer forms stay in L2
constexpr size_t kFewQueries = 8;          // up to which scan_table is the faster one
constexpr size_t kMostChunkRows = 1024;    // of a chunk, so that the first threshold does not come too late
constexpr size_t kChunkBytes = 16 * 1024;  // of codes, and about as much of sums: L1, when tables are looked up
constexpr size_t kFewestPartRows = 4096;   // less work than this is not worth a thread; of many queries, so many rows:
constexpr size_t kManyQueries = 64, kFewestRowsOfMany = 512;
constexpr size_t kPieceBlocks = 512;  // scanned by whole codes before `stop` and the number of tiles are looked at

// Signs of the leading dims alone rank rows nearly as well (leading_groups): with a kMoreKept-th more rows kept, as
// many of the answer are found. Completing one takes as long as scanning 32 dims' signs of 1,000 rows, and of the dims
// left out only half of the time is saved (docs/experiments/scan-details.md).
constexpr size_t kMoreKept = 3, kQuadsOfKept = 2000;

// A sample of every kSampleStep-th run of blocks guesses the score that the worst survivor will have.
constexpr size_t kSampleBlocks = 4, kSampleStep = 16;

// How a query's scan begins: what is added to every sum, the score that a row must lie above, the most rows that are
// kept.
struct Start {
  float base = 0, floor = kLowest;
  size_t limit = 0;
};

// The survivors of some queries, and the memory they stand in.
struct Kept {
  Scratch memory;
  std::vector<Survivors> lists;

  Kept(std::span<const Start> starts, size_t chunk, const float* thresholds) : memory(bytes(starts, chunk)) {
    lists.reserve(starts.size());
    uint8_t* at = memory.data();
    for (size_t i = 0; i < starts.size(); ++i) {
      lists.emplace_back(starts[i].limit, chunk, at, thresholds[i]);
      at += Survivors::bytes(starts[i].limit, chunk);
    }
  }
  static size_t bytes(std::span<const Start> starts, size_t chunk) {
    size_t sum = 0;
    for (const Start& start : starts) sum += Survivors::bytes(start.limit, chunk);
    return sum;
  }
};

class BlockScan {
 public:
  BlockScan(const RowFormat& format, const FlatParts& parts, QueryBatch& queries, const SearchOptions& options,
            size_t eligible, size_t first_stage_rows, bool follows, TopKBatch& tops)
      : format_(format),
        spec_(format.spec),
        parts_(parts),
        queries_(queries),
        options_(options),
        tops_(tops),
        kernels_(kernels()),
        eligible_(eligible),
        limit_(first_stage_rows),
        follows_(follows),
        fine_(queries.fine().data()) {}

  void run() {
    const bool expands = flat_expands(queries_.size(), options_);
    const bool tables = kernels_.batch_tables || queries_.size() <= kFewQueries;
    if (!expands)
      tables_ = options_.exact ? &queries_.exact_tables()
                : lead(tables) ? &leading_
                : tables       ? &queries_.stage_tables()
                               : &queries_.stage_bytes();
    const size_t group = expands ? ExpandedScan::max_batch(options_.k) : kGroup;
    for (size_t first = 0; first < queries_.size(); first += group) {
      const size_t count = std::min(group, queries_.size() - first);
      expands ? run_expanded(first, count) : options_.exact ? run_exact(first, count) : run_progressive(first, count);
    }
  }

 private:
  // Calls keep(query of the group, sums, rows, first row, mask, part) for chunks of blocks [first, last).
  template <typename Keep>
  void scan(size_t q0, size_t nq, size_t first, size_t last, size_t chunk, size_t step, const Keep& keep) const {
    const size_t bytes = block_bytes(spec_);
    std::vector<int32_t> sums(std::min<size_t>(nq, kernels_.batch_queries) * chunk * kBlockRows);
    uint16_t masks[kMostChunkRows / kBlockRows];
    size_t looked_at = 0;
    parts_.each_chunk(first, last, chunk, step, options_, [&](size_t p, size_t block, size_t blocks) {
      const FlatPart& part = parts_[p];
      const size_t row = block * kBlockRows, stride = blocks * kBlockRows;
      const size_t rows = std::min(stride, part.rows.rows - row);
      const uint16_t* mask = part.filter.all() ? nullptr : masks;
      if (mask != nullptr && !part.filter.masks(part.first + row, rows, masks)) return;
      looked_at += rows;
      for (size_t i = 0; i < nq; i += kernels_.batch_queries) {
        const size_t some = std::min<size_t>(kernels_.batch_queries, nq - i);
        const ScanQueries view = tables_->view(static_cast<uint32_t>(q0 + i), static_cast<uint32_t>(some));
        const bool by_table = some <= kFewQueries && tables_->has_tables();
        (by_table ? kernels_.scan_table : kernels_.scan_batch)(part.rows.blocks + block * bytes, blocks, view,
                                                               sums.data(), stride);
        for (size_t j = 0; j < some; ++j) keep(i + j, sums.data() + j * stride, rows, row, mask, p);
      }
    });
    note_work(options_.work, nq * looked_at, 0);
  }

  size_t chunk_blocks(size_t nq) const {
    const size_t together = std::min<size_t>(nq, kernels_.batch_queries);
    const size_t rows = together <= kFewQueries ? kChunkBytes / spec_.groups() : 256;
    return std::clamp(rows / (4 * kBlockRows) * 4, size_t{4}, kMostChunkRows / kBlockRows);
  }

  // fn(first block, last block) for each thread's share of the blocks, for nq queries.
  template <typename Result, typename Share>
  std::vector<std::optional<Result>> by_shares(size_t nq, const Share& fn) const {
    const size_t fewest = nq < kManyQueries ? kFewestPartRows : kFewestRowsOfMany;
    const size_t shares = std::clamp(parts_.rows() / fewest, size_t{1}, num_threads());
    const size_t share = round_up((parts_.blocks() + shares - 1) / shares, FlatParts::kAlign);
    std::vector<std::optional<Result>> results(shares);
    parallel_for(shares, 1, [&](size_t begin, size_t end) {
      for (size_t s = begin; s < end; ++s) {
        const size_t first = std::min(s * share, parts_.blocks());
        results[s].emplace(fn(first, std::min(first + share, parts_.blocks())));
      }
    });
    return results;
  }

  // --- progressive
  // Whether some query's signs are read in part only. It is asked for each query alone, and of the rows that may be
  // found: neither who shares the batch nor whether these rows were copied out for it (flat/scan.cpp) may change an
  // answer.
  bool lead(bool tables) {
    const uint32_t all = spec_.groups(), dims = spec_.dims();
    const auto pays = [&](uint32_t groups) {
      return (all - groups + 3) / 4 * eligible_ > kQuadsOfKept * (led_limit() - limit_);
    };
    if (all <= kFewestLeading || !pays(kFewestLeading)) return false;
    std::vector<uint32_t> groups(queries_.size());
    bool fewer = false;
    for (size_t q = 0; q < groups.size(); ++q) {
      groups[q] = leading_groups(spec_, queries_.y() + q * dims, queries_.stage_y() + q * dims);
      if (knows_floor(q) || !pays(groups[q])) groups[q] = all;
      fewer = fewer || groups[q] < all;
    }
    if (fewer) leading_ = make_lut_queries(spec_, queries_.stage_y(), queries_.size(), dims, tables, std::move(groups));
    return fewer;
  }

  size_t led_limit() const { return limit_ + (limit_ + kMoreKept - 1) / kMoreKept; }
  size_t limit(size_t q) const {
    return tables_->leading.empty() || tables_->leading[q] == spec_.groups() ? limit_ : led_limit();
  }

  // Whether the k-th result of other segments rules rows out, which is asked for each query alone, too.
  bool knows_floor(size_t q) const { return follows_ && tops_[q].full(); }

  // With a floor, scores are raised by what the sign plane cannot see, as those of rows in lists are.
  Start start(size_t q) const {
    Start start{queries_.stage_base()[q], kLowest, limit(q)};
    if (!knows_floor(q)) return start;
    const double deviation = scan_deviation(spec_, queries_.y() + q * spec_.dims(), tables_->scale[q]);
    start.base += options_.margin * static_cast<float>(deviation);
    start.floor = tops_[q].threshold();
    return start;
  }

  void run_progressive(size_t q0, size_t nq) {
    std::vector<Start> starts(nq);
    for (size_t i = 0; i < nq; ++i) starts[i] = start(q0 + i);
    const std::vector<float> thresholds = guess_thresholds(q0, starts);
    const auto kept = by_shares<Kept>(nq, [&](size_t first, size_t last) {
      return survivors(q0, starts, first, last, chunk_blocks(nq), 1, thresholds.data());
    });
    std::optional<WholeSums> sums;
    if (!follows_ && WholeSums::pays(nq, limit_, parts_))
      sums.emplace(format_, parts_, std::span(fine_ + q0, nq), options_);
    parallel_for(nq, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const size_t q = q0 + i;
        const int32_t* known = sums ? sums->of(i) : nullptr;
        Kept all = merged(kept, i, starts[i].limit);
        const bool guessed = thresholds[i] > starts[i].floor;
        if (guessed && all.lists[0].size() < starts[i].limit)  // too high: again, without a guess
          complete_best(q, survivors(q, {&starts[i], 1}, 0, parts_.blocks(), chunk_blocks(1), 1, &starts[i].floor),
                        known);
        else
          complete_best(q, std::move(all), known);
      }
    });
  }

  // Exactly the best: an answer must not depend on how the rows were shared out.
  void complete_best(size_t q, Kept kept, const int32_t* sums) {
    kept.lists[0].cut([this](uint32_t row) { return parts_.id_of(row); });
    parts_.complete(format_, kept.lists[0].rows(), fine_[q], queries_.base()[q], options_, tops_[q], sums);
  }

  Kept survivors(size_t q0, std::span<const Start> starts, size_t first, size_t last, size_t chunk, size_t step,
                 const float* thresholds) const {
    Kept kept(starts, chunk * kBlockRows, thresholds);
    scan(q0, starts.size(), first, last, chunk, step,
         [&](size_t i, const int32_t* sums, size_t rows, size_t row, const uint16_t* mask, size_t p) {
           Survivors& s = kept.lists[i];
           const RowView& view = parts_[p].rows;
           const bool own = view.stage_factors != nullptr;
           const FactorCode& code = own ? format_.stage_code : format_.code;
           const uint8_t* factors = own ? view.stage_factors : view.factors;
           const size_t n =
               kernels_.select(sums, rows, factors != nullptr ? factors + row * code.bytes : nullptr, code,
                               format_.factor, mask, starts[i].base, tables_->scale[q0 + i], s.threshold(),
                               parts_.first(p) + static_cast<uint32_t>(row), s.next_rows(), s.next_scores());
           s.grow(n, [this](uint32_t at) { return parts_.id_of(at); });
         });
    return kept;
  }

  // The list of query i over all shares.
  static Kept merged(const std::vector<std::optional<Kept>>& shares, size_t i, size_t limit) {
    size_t total = 0;
    for (const auto& share : shares) total += share->lists[i].size();
    const Start start{0, kLowest, limit};
    Kept all({&start, 1}, total, &kLowest);
    for (const auto& share : shares) {
      const Survivors& from = share->lists[i];
      std::copy_n(from.rows().begin(), from.size(), all.lists[0].next_rows());
      std::copy_n(from.scores().begin(), from.size(), all.lists[0].next_scores());
      all.lists[0].take(from.size());
    }
    return all;
  }

  // Each query's floor or, if that is higher, a score below that of its worst survivor, nearly always: the sample's
  // rank, raised by three standard deviations. Without it the threshold climbs from nothing, and ten times as many rows
  // are kept and cut again.
  std::vector<float> guess_thresholds(size_t q0, std::span<const Start> starts) const {
    const size_t nq = starts.size();
    std::vector<float> floors(nq), guess(nq);
    for (size_t i = 0; i < nq; ++i) floors[i] = starts[i].floor;
    if (parts_.rows() < 4 * limit_ || parts_.rows() < 8 * kSampleBlocks * kSampleStep * kBlockRows) return floors;
    std::vector<Start> sampled(starts.begin(), starts.end());
    for (Start& one : sampled) {
      const double expected = static_cast<double>(one.limit) / kSampleStep;
      one.limit = static_cast<size_t>(expected + 3 * std::sqrt(expected)) + 4;
    }
    const auto kept = by_shares<Kept>(nq, [&](size_t first, size_t last) {
      return survivors(q0, sampled, first, last, kSampleBlocks, kSampleStep, floors.data());
    });
    for (size_t i = 0; i < nq; ++i) {
      const size_t rank = sampled[i].limit;
      guess[i] = std::max(floors[i], merged(kept, i, rank).lists[0].nth_best(rank));
    }
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
        nq, [&](size_t first, size_t last) { return exact_share(q0, raised, first, last, chunk_blocks(nq)); });
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
    size_t survivors = 0;
    scan(q0, raised.size(), first, last, chunk, 1,
         [&](size_t i, const int32_t* sums, size_t rows, size_t row, const uint16_t* mask, size_t p) {
           const RowView& view = parts_[p].rows;
           const FactorCode& code = format_.code;
           const size_t n =
               kernels_.select(sums, rows, view.factors != nullptr ? view.factors + row * code.bytes : nullptr, code,
                               format_.factor, mask, raised[i], tables_->scale[q0 + i], found[i].threshold(),
                               static_cast<uint32_t>(row), rows_kept.data(), scores_kept.data());
           complete_rows(format_, view, fine_[q0 + i], queries_.base()[q0 + i], {rows_kept.data(), n}, found[i]);
           survivors += n;
         });
    note_work(options_.work, 0, survivors);
    return found;
  }

  // --- by whole codes
  void run_expanded(size_t q0, size_t nq) {
    // Made once for all shares: a thread of many scans little more than it would take to make the queries.
    const bool leads = ExpandedScan::leads(parts_.rows(), options_);
    const float* y = (options_.exact ? queries_.exact_y() : queries_.y()) + q0 * spec_.dims();
    const ByteSearch search{y, queries_.base() + q0, nq, options_.k, parts_.rows(), options_.exact};
    const ByteQueries bytes =
        make_byte_queries(spec_, y, nq, leads, most_entry(spec_, kernels_, options_.exact), more_tiles(search));
    std::vector<uint32_t> who(nq);
    std::iota(who.begin(), who.end(), 0u);
    Thresholds thresholds(nq);
    if (!leads)
      for (const uint32_t i : who) thresholds.raise(i, tops_[q0 + i].threshold());
    auto scans = by_shares<ExpandedScan>(nq, [&](size_t first, size_t last) {
      ExpandedScan expanded(format_, bytes, queries_.base() + q0, options_.k, (last - first) * kBlockRows, thresholds,
                            options_.exact);
      expanded.lead();
      std::vector<uint16_t> masks(kPieceBlocks);
      parts_.each_chunk(first, last, kPieceBlocks, 1, options_, [&](size_t p, size_t block, size_t blocks) {
        const FlatPart& part = parts_[p];
        const size_t row = block * kBlockRows, rows = std::min(blocks * kBlockRows, part.rows.rows - row);
        if (!part.filter.all() && !part.filter.masks(part.first + row, rows, masks.data())) return;
        expanded.scan(part.rows.part(format_, row, rows), part.filter.all() ? nullptr : masks.data(), who);
        note_work(options_.work, nq * rows, 0);
      });
      return expanded;
    });
    finalize_all(
        scans, options_, who, thresholds, [&](uint32_t i) -> const FineQuery& { return fine_[q0 + i]; },
        [&](uint32_t i) -> TopK& { return tops_[q0 + i]; });
  }

  uint32_t more_tiles(const ByteSearch& search) const {
    size_t all = 0;
    for (const FlatPart& part : parts_.parts()) all += part.rows.rows;
    if (!may_take_more_tiles(search, all)) return 0;
    SampledRows sample(all);
    for (const FlatPart& part : parts_.parts()) sample.add(format_, part.rows);
    return bebr::more_tiles(format_, search, sample);
  }

  const RowFormat& format_;
  const CodeSpec& spec_;
  const FlatParts& parts_;
  QueryBatch& queries_;
  const SearchOptions& options_;
  TopKBatch& tops_;
  const Kernels& kernels_;
  size_t eligible_;  // rows that the filters let through
  size_t limit_;     // of them the first stage keeps, where it reads all signs
  bool follows_;
  const FineQuery* fine_;
  const LutQueries* tables_ = nullptr;
  LutQueries leading_;
};

}  // namespace

void scan_blocks(const RowFormat& format, const FlatParts& parts, QueryBatch& queries, const SearchOptions& options,
                 size_t eligible, size_t first_stage_rows, bool follows, TopKBatch& tops) {
  BlockScan(format, parts, queries, options, eligible, first_stage_rows, follows, tops).run();
}

}  // namespace bebr
