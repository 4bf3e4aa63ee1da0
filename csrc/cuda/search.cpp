// Rounds over growing ranges of rows. A round scans its rows for those whose score by bytes, raised by a bound on what
// rounding the query to bytes can hide, lies above the k-th final score so far; completes them; and merges them into
// the k best. A round that finds more than there is room for is run again over half its rows: as many rows as there is
// room for always fit. Nothing that belongs to the answer is lost, and nothing depends on the order of threads.
#include "cuda/search.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "index/raise.h"
#include "index/topk.h"

namespace bebr::cuda {
namespace {

constexpr size_t kMostRows = std::numeric_limits<uint32_t>::max() - kTileRows;
constexpr size_t kCandidateBytes = size_t{256} << 20;  // of all queries of a batch
constexpr size_t kMostResults = size_t{1} << 20;       // of a query
constexpr uint32_t kCompleteShares = 8;                // blocks a query

// Candidates of a query at a time: all rows of a tile at least, so that some rows always fit.
size_t room_for(const FlatLimits& limits, size_t k) {
  return std::bit_ceil(std::max({limits.room, 4 * k, size_t{kTileRows}}));
}

uint32_t narrow(size_t n) { return static_cast<uint32_t>(n); }

// The engine's own factor, without the first stage's: a search by whole codes has no use for it.
std::vector<uint8_t> own_factors(const RowFormat& format, size_t n, const uint8_t* factors) {
  std::vector<uint8_t> own;
  if (format.factor == Factor::None) return own;
  own.resize(n * format.code.bytes);
  for (size_t i = 0; i < n; ++i)
    std::copy_n(factors + i * format.factor_bytes(), format.code.bytes, own.data() + i * format.code.bytes);
  return own;
}

template <typename T, typename Of>
DeviceArray<T> each_query(size_t count, const Of& of) {
  std::vector<T> values(count);
  for (size_t q = 0; q < count; ++q) values[q] = of(q);
  return DeviceArray<T>(values);
}

}  // namespace

// Some queries, in all forms that kernels take, and what was found of them.
struct FlatSearch::Batch {
  Batch(const FlatSearch& index, const Queries& queries, size_t k, const float* min_scores,
        DevicePointer<const uint16_t> mask)
      : count(queries.count) {
    const CodeSpec& spec = index.format_.spec;
    QueryBatch forms(spec, queries);
    const std::vector<FineQuery>& fine = forms.fine();
    const ByteQueries bytes = make_byte_queries(spec, forms.exact_y(), count);
    const ScanPlan plan = make_plan(spec, bytes.copied, index.limits_.shared);

    const size_t stride = y16_stride(spec.dims());
    std::vector<int16_t> fine_entries(count * stride);
    for (size_t q = 0; q < count; ++q) std::copy_n(fine[q].y16.as<int16_t>(), stride, fine_entries.data() + q * stride);
    y16 = DeviceArray<int16_t>(fine_entries);
    base = DeviceArray<float>(std::span(queries.base, count));
    fine_scale = each_query<double>(count, [&](size_t q) { return fine[q].scale; });
    ones = each_query<int32_t>(count, [&](size_t q) { return fine[q].ones[spec.planes]; });
    y8 = DeviceArray<int8_t>(arrange(plan, bytes.y8.as<int8_t>(), count, y8_stride(spec.groups())));
    raised = each_query<float>(
        count, [&](size_t q) { return queries.base[q] + bytes.base[q] + exact_raise(bytes, q, queries.base[q]); });
    scale = DeviceArray<float>(bytes.scale);
    floor = each_query<float>(count, [&](size_t q) { return min_scores != nullptr ? min_scores[q] : kLowest; });
    threshold = each_query<float>(count, [&](size_t q) { return min_scores != nullptr ? min_scores[q] : kLowest; });
    words = DeviceArray<uint32_t>(plan_words(plan));
    room = room_for(index.limits_, k);
    found = DeviceArray<uint32_t>(count);
    candidates = DeviceArray<Candidate>(count * room);
    best_scores = DeviceArray<float>(std::vector<float>(count * k, kLowest));
    best_ids = DeviceArray<int64_t>(std::vector<int64_t>(count * k, -1));

    scan.codes = {std::as_const(index.blocks_).data(),
                  std::as_const(index.groups_).data(),
                  narrow(index.rows_),
                  spec.row_bytes(),
                  spec.dims(),
                  spec.planes};
    scan.factors = {std::as_const(index.factors_).data(), index.format_.factor, index.format_.code.bytes,
                    index.format_.code.low, index.format_.code.step};
    scan.mask = mask;
    scan.plan = std::as_const(words).data();
    scan.chunks = narrow(plan.chunks.size());
    scan.steps = plan.steps();
    scan.shared = plan.room;
    scan.y8 = std::as_const(y8).data();
    scan.count = narrow(count);
    scan.base = std::as_const(raised).data();
    scan.scale = std::as_const(scale).data();
    scan.threshold = std::as_const(threshold).data();
    scan.found = found.data();
    scan.candidates = candidates.data();
    scan.room = narrow(room);

    completion = {scan.codes,
                  scan.factors,
                  scan.count,
                  std::as_const(y16).data(),
                  std::as_const(base).data(),
                  std::as_const(fine_scale).data(),
                  std::as_const(ones).data(),
                  std::as_const(found).data(),
                  candidates.data(),
                  scan.room};
    merge.count = scan.count;
    merge.k = narrow(k);
    merge.room = scan.room;
    merge.found = completion.found;
    merge.candidates = std::as_const(candidates).data();
    merge.ids = std::as_const(index.ids_).data();
    merge.floor = std::as_const(floor).data();
    merge.best_scores = best_scores.data();
    merge.best_ids = best_ids.data();
    merge.threshold = threshold.data();
  }

  size_t count, room = 0;
  DeviceArray<int8_t> y8;
  DeviceArray<int16_t> y16;
  DeviceArray<float> base, raised, scale, floor, threshold, best_scores;
  DeviceArray<double> fine_scale;
  DeviceArray<int32_t> ones;
  DeviceArray<uint32_t> words, found;
  DeviceArray<Candidate> candidates;
  DeviceArray<int64_t> best_ids;
  DeviceArray<uint8_t> work;
  ScanArgs scan;
  CompleteArgs completion;
  BestArgs merge;
};

FlatSearch::FlatSearch(size_t device, const RowFormat& format, size_t n, const uint8_t* planes, const uint8_t* factors,
                       const int64_t* ids, const FlatLimits& limits)
    : device_(device), rows_(n), format_(format), limits_(limits) {
  if (n > kMostRows)
    fail(ErrorCode::LimitExceeded,
         "the index has " + std::to_string(n) + " rows: a device takes " + std::to_string(kMostRows));
  use_device(device);
  blocks_ = DeviceArray<uint8_t>(make_blocks(format.spec, planes, n));
  factors_ = DeviceArray<uint8_t>(own_factors(format, n, factors));
  groups_ = DeviceArray<uint32_t>(make_groups(format.spec));
  ids_ = DeviceArray<int64_t>(std::span(ids, n));
}

size_t FlatSearch::bytes() const noexcept {
  return blocks_.bytes() + factors_.bytes() + groups_.bytes() + ids_.bytes();
}

void FlatSearch::search(const Queries& queries, size_t k, const float* min_scores, const uint16_t* mask, float* scores,
                        int64_t* ids) const {
  if (k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  std::fill_n(scores, queries.count * k, kLowest);
  std::fill_n(ids, queries.count * k, int64_t{-1});
  if (rows_ == 0) return;
  const std::lock_guard lock(mutex_);
  use_device(device_);
  DeviceArray<uint16_t> device_mask;
  if (mask != nullptr) device_mask = DeviceArray<uint16_t>(std::span(mask, block_count(rows_)));
  const size_t most = std::min(k, rows_);  // results a query
  if (most > kMostResults)
    fail(ErrorCode::LimitExceeded,
         "k is " + std::to_string(k) + ": a device finds up to " + std::to_string(kMostResults) + " rows a query");
  const size_t candidates = room_for(limits_, most) * sizeof(Candidate);
  const size_t batch = std::clamp(kCandidateBytes / candidates, size_t{1}, limits_.batch);
  for (size_t first = 0; first < queries.count; first += batch) {
    Queries some = queries;
    some.count = std::min(batch, queries.count - first);
    some.y += first * format_.spec.dims();
    some.base += first;
    Batch made(*this, some, most, min_scores != nullptr ? min_scores + first : nullptr,
               std::as_const(device_mask).data());
    run(made);
    const std::vector<float> best_scores = made.best_scores.get();
    const std::vector<int64_t> best_ids = made.best_ids.get();
    for (size_t q = 0; q < some.count; ++q) {
      std::copy_n(best_scores.data() + q * most, most, scores + (first + q) * k);
      std::copy_n(best_ids.data() + q * most, most, ids + (first + q) * k);
    }
  }
}

void FlatSearch::run(Batch& batch) const {
  const size_t least = batch.room;  // a power of two, and whole tiles
  for (size_t first = 0; first < rows_;) {
    size_t rows = std::min(std::max(least, first * limits_.growth / kTileRows * kTileRows), rows_ - first);
    while (true) {
      const size_t found = round(batch, first, rows);
      if (found <= batch.room) break;
      rows = std::max(rows / 2 / kTileRows * kTileRows, least);
    }
    first += rows;
  }
}

// Scans rows, and merges what was found if there was room for all of it. Returns the most candidates of a query.
size_t FlatSearch::round(Batch& batch, size_t first, size_t rows) const {
  batch.found.fill_bytes(0);
  batch.scan.first_row = narrow(first);
  batch.scan.end_row = narrow(first + rows);
  const size_t tiles = (rows + kTileRows - 1) / kTileRows;
  const size_t query_tiles = (batch.count + kTileQueries - 1) / kTileQueries;
  const size_t side_by_side = std::max(3 * multiprocessors() / query_tiles, size_t{1});
  scan_codes(batch.scan, narrow(std::min(tiles, side_by_side)));
  const std::vector<uint32_t> counts = batch.found.get();
  const size_t most = *std::max_element(counts.begin(), counts.end());
  if (most > batch.room || most == 0) return most;
  complete(batch.completion, kCompleteShares);
  batch.merge.size = narrow(std::bit_ceil(batch.merge.k + most));
  if (batch.merge.size > kMostSharedSort) {
    batch.work = DeviceArray<uint8_t>(batch.count * batch.merge.size * 12);
    batch.merge.work = batch.work.data();
  } else {
    batch.merge.work = {};
  }
  best(batch.merge);
  return most;
}

}  // namespace bebr::cuda
