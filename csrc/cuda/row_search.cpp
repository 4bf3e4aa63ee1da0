// Rounds over growing ranges of rows, so that the first few set thresholds which rule out most of the others. A round
// that finds more than there is room for is run again over half its rows: as many rows as there is room for always fit.
// Nothing that belongs to the answer is lost, and nothing depends on the order of threads.
#include "cuda/row_search.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "base/error.h"
#include "index/topk.h"

namespace bebr::cuda {
namespace {

constexpr size_t kBatchBytes = size_t{256} << 20;  // of all queries of a batch, or half of what memory is left
constexpr size_t kMostResults = size_t{1} << 20;   // of a query
constexpr size_t kWholeTiles = 256;                // rows
constexpr size_t kBlocks = 3;                      // of the scan side by side on a multiprocessor

uint32_t narrow(size_t n) { return static_cast<uint32_t>(n); }

// Pieces that some queries look at in a round, each with its visitors.
struct Visits {
  std::vector<uint32_t> pieces, begin{0}, visitors;  // of pieces[i]: visitors begin[i] to begin[i + 1]
};

// seen: pairs of a piece and a query.
Visits by_piece(std::vector<std::pair<uint32_t, uint32_t>>& seen) {
  std::sort(seen.begin(), seen.end());
  Visits visits;
  for (const auto& [piece, query] : seen) {
    if (visits.pieces.empty() || visits.pieces.back() != piece) {
      visits.pieces.push_back(piece);
      visits.begin.push_back(visits.begin.back());
    }
    visits.visitors.push_back(query);
    ++visits.begin.back();
  }
  return visits;
}

}  // namespace

RowSearch::RowSearch(size_t device, const RowFormat& format, const RowArrays& rows, const SearchLimits& limits)
    : device_(device), limits_(limits) {
  use_device(device);
  rows_.emplace(format, rows);
  first_piece_.push_back(0);
  for (size_t part = 0; part < rows_->parts(); ++part)
    first_piece_.push_back(first_piece_.back() + narrow((rows_->size(part) + limits.piece - 1) / limits.piece));
}

void RowSearch::search(const Queries& queries, size_t k, const std::optional<PartsOfQueries>& parts,
                       const float* min_scores, const bool* allow, float* scores, int64_t* ids) const {
  if (k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  std::fill_n(scores, queries.count * k, kLowest);
  std::fill_n(ids, queries.count * k, int64_t{-1});
  if (rows_->size() == 0) return;
  const std::lock_guard lock(mutex_);
  use_device(device_);
  DeviceArray<uint16_t> mask;
  if (allow != nullptr || (!parts && rows_->parts() > 1)) mask = DeviceArray<uint16_t>(rows_->mask(allow));
  const size_t most = std::min(k, rows_->size());  // results a query
  if (most > kMostResults)
    fail(ErrorCode::LimitExceeded,
         "k is " + std::to_string(k) + ": a device finds up to " + std::to_string(kMostResults) + " rows a query");
  const CodeSpec& spec = rows_->format().spec;
  const size_t room = std::bit_ceil(std::max({limits_.room, 4 * most, kWholeTiles, limits_.piece}));
  const size_t batch = std::clamp(std::min(kBatchBytes, free_memory() / 2) / Batch::bytes_of_query(spec, most, room),
                                  size_t{1}, limits_.batch);
  for (size_t first = 0; first < queries.count; first += batch) {
    Queries some = queries;
    some.count = std::min(batch, queries.count - first);
    some.y += first * spec.dims();
    some.base += first;
    std::optional<PartsOfQueries> looked = parts;
    if (looked) looked->begin += first;
    const ScanTile tile = looked ? tile_for_parts(some.count, *looked) : tile_for(some.count);
    Batch made(*rows_, some, tile, most, room, limits_.shared, min_scores != nullptr ? min_scores + first : nullptr,
               std::as_const(mask).data());
    looked ? search_parts(made, *looked) : search_all(made);
    const std::vector<float> best_scores = made.scores();
    const std::vector<int64_t> best_ids = made.ids();
    for (size_t q = 0; q < some.count; ++q) {
      std::copy_n(best_scores.data() + q * most, most, scores + (first + q) * k);
      std::copy_n(best_ids.data() + q * most, most, ids + (first + q) * k);
    }
  }
}

size_t RowSearch::side_by_side() const { return kBlocks * multiprocessors(); }

void RowSearch::search_all(Batch& batch) const {
  const size_t all = rows_->end(), least = batch.room();  // a power of two, and whole tiles
  const size_t query_tiles = (batch.size() + batch.tile().queries - 1) / batch.tile().queries;
  std::vector<ScanItem> items;
  for (size_t first = 0; first < all;) {
    size_t rows = std::min(std::max(least, first * limits_.growth / kWholeTiles * kWholeTiles), all - first);
    while (true) {
      items.clear();
      add_items(batch.tile(), narrow(first), narrow(first + rows),
                narrow(std::max(side_by_side() / query_tiles, size_t{1})), 0, narrow(batch.size()), items);
      if (batch.round(items) <= batch.room()) break;
      rows = std::max(rows / 2 / kWholeTiles * kWholeTiles, least);
    }
    first += rows;
  }
}

// As many queries as look at a piece, of those that some look at.
ScanTile RowSearch::tile_for_parts(size_t queries, const PartsOfQueries& parts) const {
  std::vector<bool> seen(rows_->parts());
  size_t visits = 0, pieces = 0;
  for (uint32_t i = parts.begin[0]; i < parts.begin[queries]; ++i) {
    const uint32_t part = parts.parts[i], held = first_piece_[part + 1] - first_piece_[part];
    visits += held;
    if (!seen[part]) pieces += held;
    seen[part] = true;
  }
  return tile_for((visits + pieces) / std::max(pieces, size_t{1}));
}

// A round takes as many pieces of every query, in its own order.
void RowSearch::search_parts(Batch& batch, const PartsOfQueries& parts) const {
  std::vector<std::vector<uint32_t>> pieces(batch.size());  // of each query
  std::vector<uint32_t> part_of;
  size_t longest = 0;
  for (size_t q = 0; q < batch.size(); ++q) {
    for (uint32_t i = parts.begin[q]; i < parts.begin[q + 1]; ++i)
      for (uint32_t p = first_piece_[parts.parts[i]]; p < first_piece_[parts.parts[i] + 1]; ++p) pieces[q].push_back(p);
    longest = std::max(longest, pieces[q].size());
  }
  std::vector<std::pair<uint32_t, uint32_t>> seen;
  std::vector<ScanItem> items;
  for (size_t first = 0; first < longest;) {
    size_t count = std::max(first * limits_.growth, size_t{1});
    while (true) {
      seen.clear();
      for (uint32_t q = 0; q < batch.size(); ++q)
        for (size_t i = first; i < std::min(first + count, pieces[q].size()); ++i) seen.emplace_back(pieces[q][i], q);
      const Visits visits = by_piece(seen);
      items.clear();
      for (size_t i = 0; i < visits.pieces.size(); ++i) {
        const uint32_t piece = visits.pieces[i];
        const auto part = static_cast<size_t>(std::upper_bound(first_piece_.begin(), first_piece_.end(), piece) -
                                              first_piece_.begin() - 1);
        const size_t from = size_t{piece - first_piece_[part]} * limits_.piece;
        const size_t to = std::min(from + limits_.piece, rows_->size(part));
        add_items(batch.tile(), narrow(rows_->first(part) + from), narrow(rows_->first(part) + to), 1, visits.begin[i],
                  visits.begin[i + 1] - visits.begin[i], items);
      }
      if (batch.round(items, visits.visitors) <= batch.room()) break;
      count = std::max(std::min(count, longest - first) / 2, size_t{1});
    }
    first += count;
  }
}

}  // namespace bebr::cuda
