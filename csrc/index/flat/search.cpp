// Search of FlatIndex. Scan the sign plane chunk by chunk with integer sums (kernels scan_table, scan_batch), turn sums
// into scores and keep what passes a rising threshold (select), complete the kept rows over all planes (complete).
//
// Progressive: keep the best `survivors` by the sign plane's score, complete those at the end.
// Many queries at once: whole codes (expanded.h), which is faster from some dozens of them on.
// Exact: scores are raised by a bound on what the sign plane cannot see (scan_margin); rows whose bound still reaches
// the k-th final score are completed at once, and the k-th score rises. Nothing that belongs to the answer is lost.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/scratch.h"
#include "base/threads.h"
#include "index/complete.h"
#include "index/expanded.h"
#include "index/flat/flat.h"
#include "index/flat/survivors.h"
#include "index/query.h"
#include "index/topk.h"

namespace bebr {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr size_t kGroup = 256;           // queries scanned together: their integer forms stay in L2
constexpr size_t kExpandedFrom = 8;      // of Kernels::expand_queries: here sign planes alone rule out nearly all rows
constexpr size_t kMostChunkRows = 1024;  // of a chunk, so that the first threshold does not come too late
constexpr size_t kChunkBytes = 16 * 1024;  // of codes, and about as much of sums: L1, when tables are looked up
constexpr size_t kFewestPartRows = 4096;   // less work than this is not worth a thread

constexpr size_t kCopyCost = 150;  // copying a row out costs about as much as passing over this many in a scan

// A first look at every kSampleStep-th run of blocks guesses the score that the worst survivor will have.
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

}  // namespace

class FlatIndex::Scan {
 public:
  // allowed: the rows to look at, ascending, where params.filtered.
  Scan(const FlatIndex& index, const Queries& queries, const SearchParams& params, std::vector<uint32_t> allowed)
      : index_(index),
        queries_(queries),
        params_(params),
        rows_(index.view()),
        view_(rows_.scan(index.format().spec)),
        kernels_(kernels()),
        allowed_rows_(std::move(allowed)) {
    const size_t dims = view_.spec.dims();
    exact_ = params.survivors == 0;
    const bool own_stage = !exact_ && queries.stage_y != nullptr;
    coarse_base_ = own_stage ? queries.stage_base : queries.base;
    const bool stage_factor = !exact_ && rows_.stage_factors != nullptr;
    coarse_factors_ = stage_factor ? rows_.stage_factors : rows_.factors;
    coarse_code_ = stage_factor ? index.format().stage_code : index.format().code;
    fine_.resize(queries.count);
    parallel_for(queries.count, 8, [&](size_t begin, size_t end) {
      for (size_t q = begin; q < end; ++q) fine_[q] = make_fine_query(view_.spec, queries.y + q * dims);
    });
    set_mask();
    expands_ = !direct_ && (exact_ || params.expand) && expands(queries.count);
    if (direct_ || expands_) return;
    if (exact_) {
      // The margin is reckoned against the query that final scores use.
      std::vector<float> rounded(queries.count * dims);
      for (size_t q = 0; q < queries.count; ++q) fine_values(view_.spec, fine_[q], rounded.data() + q * dims);
      coarse_ = make_coarse_queries(view_.spec, rounded.data(), queries.count, dims);
    } else {
      coarse_ = make_coarse_queries(view_.spec, own_stage ? queries.stage_y : queries.y, queries.count, dims);
    }
  }

  // sink(query, its hits, best first); from several threads, for different queries.
  using Sink = std::function<void(size_t q, std::vector<Hit>& hits)>;

  void run(const Sink& sink) {
    if (direct_) {
      parallel_for(queries_.count, 1, [&](size_t begin, size_t end) {
        for (size_t q = begin; q < end; ++q) finish(q, allowed_rows_, sink);
      });
      return;
    }
    const size_t group = expands_ ? ExpandedScan::most_queries(params_.k) : kGroup;
    for (size_t first = 0; first < queries_.count; first += group)
      run_group(first, std::min(group, queries_.count - first), sink);
  }

 private:
  void set_mask() {
    const size_t blocks = block_count(view_.rows);
    if (!params_.filtered) {
      if (!index_.alive_.empty()) mask_ = index_.alive_;
    } else {
      mask_.assign(blocks, 0);
      for (const uint32_t row : allowed_rows_)
        mask_[row / 16] = static_cast<uint16_t>(mask_[row / 16] | (1u << row % 16));
      // Completing a row costs about as much as scanning 64 (csrc/README.md).
      direct_ = allowed_rows_.size() <= std::max(params_.survivors, view_.rows / 64);
      return;
    }
    const size_t live = view_.rows - index_.dead_;
    direct_ = !exact_ && live <= params_.survivors;
    if (direct_)
      for (size_t i = 0; i < view_.rows; ++i)
        if (index_.alive(i)) allowed_rows_.push_back(static_cast<uint32_t>(i));
  }

  void complete(size_t q, std::span<const uint32_t> rows, TopK& top) const {
    complete_rows(index_.format_, rows_, fine_[q], queries_.base[q], rows, top);
  }

  TopK make_top(size_t q) const { return TopK(params_.k, params_.floors != nullptr ? params_.floors[q] : kLowest); }

  // Calls keep(query of the group, sums, first row, rows) for every step-th chunk of blocks [first, last) and every
  // query.
  template <typename Keep>
  void scan(size_t q0, size_t nq, size_t first, size_t last, size_t chunk_blocks, size_t step, const Keep& keep) const {
    const size_t bytes = block_bytes(view_.spec);
    std::vector<int32_t> sums(std::min<size_t>(nq, kernels_.batch_queries) * chunk_blocks * kBlockRows);
    for (size_t b = first; b < last; b += step * chunk_blocks) {
      const size_t blocks = std::min(chunk_blocks, last - b);
      if (!mask_.empty() &&
          std::all_of(mask_.begin() + static_cast<ptrdiff_t>(b), mask_.begin() + static_cast<ptrdiff_t>(b + blocks),
                      [](uint16_t m) { return m == 0; }))
        continue;
      const size_t stride = blocks * kBlockRows, rows = std::min(stride, view_.rows - b * kBlockRows);
      for (size_t i = 0; i < nq; i += kernels_.batch_queries) {
        const size_t some = std::min<size_t>(kernels_.batch_queries, nq - i);
        const ScanQueries view = coarse_.view(static_cast<uint32_t>(q0 + i), static_cast<uint32_t>(some));
        (some <= 8 ? kernels_.scan_table : kernels_.scan_batch)(view_.blocks + b * bytes, blocks, view, sums.data(),
                                                                stride);
        for (size_t j = 0; j < some; ++j) keep(i + j, sums.data() + j * stride, b * kBlockRows, rows);
      }
    }
  }

  size_t chunk_blocks(size_t nq) const {
    const size_t together = std::min<size_t>(nq, kernels_.batch_queries);
    const size_t rows = together <= 8 ? kChunkBytes / view_.spec.groups() : 256;
    return std::clamp(rows / (4 * kBlockRows) * 4, size_t{4}, kMostChunkRows / kBlockRows);
  }

  size_t select(size_t q, const int32_t* sums, size_t first_row, size_t rows, float base, float threshold,
                uint32_t* kept, float* kept_scores) const {
    const uint8_t* factors = coarse_factors_ != nullptr ? coarse_factors_ + first_row * coarse_code_.bytes : nullptr;
    const uint16_t* mask = mask_.empty() ? nullptr : mask_.data() + first_row / kBlockRows;
    return kernels_.select(sums, rows, factors, coarse_code_, index_.format_.factor, mask, base, coarse_.scale[q],
                           threshold, static_cast<uint32_t>(first_row), kept, kept_scores);
  }

  ByteQueries byte_queries(size_t q0, size_t nq) const {
    const CodeSpec& spec = view_.spec;
    if (!exact_) return make_byte_queries(spec, queries_.y + q0 * spec.dims(), nq);
    // The bound is reckoned against the query that final scores use.
    std::vector<float> rounded(nq * spec.dims());
    for (size_t i = 0; i < nq; ++i) fine_values(spec, fine_[q0 + i], rounded.data() + i * spec.dims());
    return make_byte_queries(spec, rounded.data(), nq);
  }

  // Of blocks [first, last), by whole codes.
  std::vector<TopK> expanded_part(size_t q0, const ByteQueries& bytes, size_t first, size_t last) const {
    const RowFormat& format = index_.format_;
    const size_t nq = bytes.scale.size();
    ExpandedScan expanded(format, bytes, queries_.base + q0, params_.k,
                          params_.floors != nullptr ? params_.floors + q0 : nullptr, exact_);
    std::vector<uint32_t> who(nq);
    std::iota(who.begin(), who.end(), 0u);
    const size_t row = first * kBlockRows;
    expanded.scan(rows_.part(format, row, std::min(last * kBlockRows, rows_.rows) - row),
                  mask_.empty() ? nullptr : mask_.data() + first, who);
    std::vector<TopK> tops;
    for (uint32_t i = 0; i < nq; ++i) {
      if (i + 1 < nq) expanded.prefetch(i + 1);
      tops.push_back(make_top(q0 + i));
      expanded.settle(i, fine_[q0 + i], tops.back());
    }
    return tops;
  }

  void run_group(size_t q0, size_t nq, const Sink& sink) const {
    const size_t chunk = chunk_blocks(nq);
    if (exact_ || expands_) {
      // Once for all parts: a thread of many scans little more than it would take to make the queries.
      const std::optional<ByteQueries> bytes = expands_ ? std::optional(byte_queries(q0, nq)) : std::nullopt;
      const auto tops = by_parts<std::vector<TopK>>([&](size_t first, size_t last) {
        return bytes ? expanded_part(q0, *bytes, first, last) : exact_part(q0, nq, first, last, chunk);
      });
      parallel_for(nq, 1, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          TopK top = make_top(q0 + i);
          for (const auto& part : tops)
            for (const Hit& hit : (*part)[i].hits()) top.push(hit);
          sink(q0 + i, top.sorted());
        }
      });
      return;
    }
    const size_t limit = std::max(params_.survivors, params_.k);
    const std::vector<float> guess = guess_thresholds(q0, nq, limit);
    const auto kept = by_parts<Kept>([&](size_t first, size_t last) {
      return progressive_part(q0, nq, first, last, chunk, 1, limit, guess.data());
    });
    parallel_for(nq, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const size_t q = q0 + i;
        Kept one = merged(kept, i, limit);
        Survivors& all = one.lists[0];
        all.cut();  // exactly the best: an answer must not depend on how the rows were shared out, nor on the batch
        if (all.size() < limit && guess[i] > kLowest) {  // guessed too high: look again, at everything
          const float any = kLowest;
          const Kept again = progressive_part(q, 1, 0, block_count(view_.rows), chunk_blocks(1), 1, limit, &any);
          finish(q, again.lists[0].rows(), sink);
        } else {
          finish(q, all.rows(), sink);
        }
      }
    });
  }

  void finish(size_t q, std::span<const uint32_t> rows, const Sink& sink) const {
    TopK top = make_top(q);
    complete(q, rows, top);
    sink(q, top.sorted());
  }

  // fn(first block, last block) for each thread's share of the blocks.
  template <typename Result, typename Part>
  std::vector<std::optional<Result>> by_parts(const Part& fn) const {
    const size_t blocks = block_count(view_.rows);
    const size_t parts = std::clamp(view_.rows / kFewestPartRows, size_t{1}, num_threads());
    const size_t part_blocks = (blocks + parts - 1) / parts;
    std::vector<std::optional<Result>> results(parts);
    parallel_for(parts, 1, [&](size_t begin, size_t end) {
      for (size_t p = begin; p < end; ++p) {
        const size_t first = std::min(p * part_blocks, blocks);
        results[p].emplace(fn(first, std::min(first + part_blocks, blocks)));
      }
    });
    return results;
  }

  // The list of query i over all parts.
  static Kept merged(const std::vector<std::optional<Kept>>& parts, size_t i, size_t limit) {
    size_t total = 0;
    for (const auto& part : parts) total += part->lists[i].size();
    const float any = kLowest;
    Kept all(1, limit, total, &any);
    for (const auto& part : parts) {
      const Survivors& from = part->lists[i];
      std::copy_n(from.rows().begin(), from.size(), all.lists[0].next_rows());
      std::copy_n(from.scores().begin(), from.size(), all.lists[0].next_scores());
      all.lists[0].grow(from.size());
    }
    return all;
  }

  // A score below that of the limit-th best row, nearly always: the sample's rank, raised by three standard deviations.
  // Without it the threshold climbs from nothing, and ten times as many rows are kept and cut again.
  std::vector<float> guess_thresholds(size_t q0, size_t nq, size_t limit) const {
    std::vector<float> guess(nq, kLowest);
    if (view_.rows < 4 * limit || view_.rows < 8 * kSampleBlocks * kSampleStep * kBlockRows) return guess;
    const double expected = static_cast<double>(limit) / kSampleStep;
    const size_t rank = static_cast<size_t>(expected + 3 * std::sqrt(expected)) + 4;
    const std::vector<float> any(nq, kLowest);
    const auto kept = by_parts<Kept>([&](size_t first, size_t last) {
      return progressive_part(q0, nq, first, last, kSampleBlocks, kSampleStep, rank, any.data());
    });
    for (size_t i = 0; i < nq; ++i) guess[i] = merged(kept, i, rank).lists[0].nth_best(rank);
    return guess;
  }

  Kept progressive_part(size_t q0, size_t nq, size_t first, size_t last, size_t chunk_blocks, size_t step, size_t limit,
                        const float* thresholds) const {
    Kept kept(nq, limit, chunk_blocks * kBlockRows, thresholds);
    scan(q0, nq, first, last, chunk_blocks, step, [&](size_t i, const int32_t* sums, size_t row, size_t rows) {
      Survivors& s = kept.lists[i];
      s.grow(select(q0 + i, sums, row, rows, coarse_base_[q0 + i], s.threshold(), s.next_rows(), s.next_scores()));
    });
    return kept;
  }

  std::vector<TopK> exact_part(size_t q0, size_t nq, size_t first, size_t last, size_t chunk_blocks) const {
    std::vector<TopK> tops;
    for (size_t i = 0; i < nq; ++i) tops.push_back(make_top(q0 + i));
    std::vector<float> raised(nq);
    for (size_t i = 0; i < nq; ++i) {
      const size_t q = q0 + i;
      const int8_t* y8 = coarse_.y8.as<int8_t>() + q * y8_stride(coarse_.groups);
      const double margin = scan_margin(view_.spec, fine_[q], y8, coarse_.scale[q]);
      raised[i] = static_cast<float>(queries_.base[q] + margin + 1e-5 * std::abs(double{queries_.base[q]}));
    }
    std::vector<uint32_t> rows_kept(chunk_blocks * kBlockRows + 16);
    std::vector<float> scores_kept(rows_kept.size());
    scan(q0, nq, first, last, chunk_blocks, 1, [&](size_t i, const int32_t* sums, size_t row, size_t rows) {
      const size_t n =
          select(q0 + i, sums, row, rows, raised[i], tops[i].threshold(), rows_kept.data(), scores_kept.data());
      complete(q0 + i, {rows_kept.data(), n}, tops[i]);
    });
    return tops;
  }

  const FlatIndex& index_;
  const Queries& queries_;
  const SearchParams& params_;
  const RowView rows_;
  const ScanView view_;
  const Kernels& kernels_;
  bool exact_ = false;
  bool expands_ = false;  // by whole codes
  bool direct_ = false;   // few rows to look at: all of allowed_rows_ are completed, nothing is scanned
  const float* coarse_base_ = nullptr;
  const uint8_t* coarse_factors_ = nullptr;
  FactorCode coarse_code_;
  std::vector<FineQuery> fine_;
  CoarseQueries coarse_;
  std::vector<uint16_t> mask_;  // empty: every row
  std::vector<uint32_t> allowed_rows_;
};

bool FlatIndex::expands(size_t queries) {
  const size_t from = kernels().expand_queries;
  return from > 0 && queries >= kExpandedFrom * from;
}

std::vector<uint32_t> FlatIndex::rows_of(std::span<const int64_t> ids) const {
  need_map();
  std::vector<uint32_t> rows;
  rows.reserve(ids.size());
  row_of_.find_all(ids, [&](uint32_t row) { rows.push_back(row); });
  if (!std::is_sorted(rows.begin(), rows.end())) std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

std::unique_ptr<FlatIndex> FlatIndex::set_apart(std::span<const uint32_t> rows, size_t queries) const {
  if (queries * (view().rows - rows.size()) < kCopyCost * rows.size()) return nullptr;
  RowStore store;
  store.append(format_, view(), rows);
  return std::make_unique<FlatIndex>(format_, std::move(store));
}

void FlatIndex::search(const Queries& queries, const SearchParams& params, float* scores, int64_t* ids) const {
  if (params.k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  if (queries.count == 0) return;
  std::shared_lock lock(mutex_);
  if (view().rows == dead_) {
    std::fill_n(scores, queries.count * params.k, kLowest);
    std::fill_n(ids, queries.count * params.k, int64_t{-1});
    return;
  }
  std::vector<uint32_t> allowed;
  if (params.filtered) {
    allowed = rows_of(params.allow);
    if (const auto apart = set_apart(allowed, queries.count)) {
      SearchParams plain = params;
      plain.filtered = false;
      return apart->search(queries, plain, scores, ids);
    }
  }
  Scan(*this, queries, params, std::move(allowed)).run([&](size_t q, const std::vector<Hit>& hits) {
    for (size_t i = 0; i < params.k; ++i) {
      scores[q * params.k + i] = i < hits.size() ? hits[i].score : kLowest;
      ids[q * params.k + i] = i < hits.size() ? hits[i].id : -1;
    }
  });
}

std::vector<std::vector<Hit>> FlatIndex::range(const Queries& queries, const SearchParams& params) const {
  std::vector<std::vector<Hit>> found(queries.count);
  std::shared_lock lock(mutex_);
  if (queries.count == 0 || view().rows == dead_) return found;
  SearchParams all = params;
  all.k = view().rows;
  all.survivors = 0;
  Scan(*this, queries, all, params.filtered ? rows_of(params.allow) : std::vector<uint32_t>{})
      .run([&](size_t q, std::vector<Hit>& hits) { found[q] = std::move(hits); });
  return found;
}

}  // namespace bebr
