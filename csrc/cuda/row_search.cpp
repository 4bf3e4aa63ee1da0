// Rounds over growing ranges of rows, so that the first few set thresholds which rule out most of the others. A round
// that finds more than there is room for is run again over half its rows: as many rows as there is room for always fit.
// Nothing that belongs to the answer is lost, and nothing depends on the order of threads.
#include "cuda/row_search.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "code/layout.h"
#include "index/topk.h"

namespace bebr::cuda {
namespace {

constexpr size_t kBatchBytes = size_t{256} << 20;  // of all queries of a batch, or half of what memory is left
constexpr size_t kMostResults = size_t{1} << 20;   // of a query
constexpr size_t kWholeTiles = 256;                // rows

// Blocks of the scan that run together.
size_t side_by_side(ScanTile tile) { return (tile.wide() ? 1 : 3) * multiprocessors(); }

uint32_t narrow(size_t n) { return static_cast<uint32_t>(n); }

// How much a round looks at once one has found more than there is room for: where a bound rules out few rows, most of
// what grows would be scanned in vain.
struct Pace {
  size_t most = ~size_t{0};

  // Whether what a round over `looked` has found has room.
  bool takes(size_t found, size_t room, size_t looked) noexcept {
    if (found > room)
      most = std::max(looked / 2, size_t{1});
    else if (looked >= most && 4 * found < room)
      most *= 2;
    return found <= room;
  }
};

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

RowSearch::RowSearch(size_t device, const RowFormat& format, const RowArrays& rows, const SearchLimits& limits,
                     const Residency& residency)
    : device_(device), limits_(limits) {
  const OnDevice there(device);
  wgmma_ = has_wgmma();
  rows_.emplace(format, rows, limits.piece, limits.window, residency);
}

void RowSearch::search(const Asked& asked, float* scores, int64_t* ids) const {
  const size_t k = asked.k;
  std::fill_n(scores, asked.queries.count * k, kLowest);
  std::fill_n(ids, asked.queries.count * k, int64_t{-1});
  each_batch(asked, [&](const Batch& batch, size_t first, size_t most) {
    const std::vector<float> best_scores = batch.scores().get();
    const std::vector<int64_t> best_ids = batch.ids().get();
    for (size_t q = 0; q < batch.size(); ++q) {
      std::copy_n(best_scores.data() + q * most, most, scores + (first + q) * k);
      std::copy_n(best_ids.data() + q * most, most, ids + (first + q) * k);
    }
  });
}

DeviceAnswers RowSearch::search_there(const Asked& asked, const Unit& unit) const {
  const OnDevice there(device_);
  const size_t count = asked.queries.count, k = asked.k;
  DeviceAnswers answers{DeviceArray<float>(count * k), DeviceArray<int64_t>(count * k)};
  DeviceArray<float> offset;
  if (unit.distance) offset = DeviceArray<float>(std::span(unit.offset, count));
  const auto put = [&](size_t first, size_t n, AnswerArgs args) {
    args.unit = unit;
    args.count = narrow(n);
    args.k = narrow(k);
    if (unit.distance) args.offset = std::as_const(offset).data(first);
    args.scores = answers.scores.data(first * k);
    args.ids = answers.ids.data(first * k);
    answer(args);
  };
  if (rows_->size() == 0 && count > 0) put(0, count, {});
  each_batch(asked, [&](const Batch& batch, size_t first, size_t most) {
    AnswerArgs args;
    args.most = narrow(most);
    args.found_scores = batch.scores().data();
    args.found_ids = batch.ids().data();
    put(first, batch.size(), args);
  });
  wait_for_kernels();
  return answers;
}

void RowSearch::each_batch(const Asked& asked, const TakeBest& take) const {
  const auto& [queries, k, parts, min_scores, allow] = asked;
  if (k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  if (rows_->size() == 0) return;
  const std::lock_guard lock(mutex_);
  const OnDevice there(device_);
  DeviceArray<uint16_t> mask;
  if (allow != nullptr || (!parts && rows_->parts() > 1)) mask = DeviceArray<uint16_t>(rows_->mask(allow));
  const size_t most = std::min(k, rows_->size());  // results a query
  if (most > kMostResults)
    fail(ErrorCode::LimitExceeded,
         "k is " + std::to_string(k) + ": a device finds up to " + std::to_string(kMostResults) + " rows a query");
  const CodeSpec& spec = rows_->format().spec;
  const size_t least = rows_->signs() ? limits_.room_of_signs : limits_.room;
  const size_t room = std::bit_ceil(std::max({least, 4 * most, kWholeTiles, limits_.piece}));
  const size_t batch = std::clamp(std::min(kBatchBytes, free_memory() / 2) / Batch::bytes_of_query(spec, most, room),
                                  size_t{1}, rows_->resident() ? limits_.batch : limits_.streamed);
  for (size_t first = 0; first < queries.count; first += batch) {
    Queries some = queries;
    some.count = std::min(batch, queries.count - first);
    some.y += first * spec.dims();
    some.base += first;
    std::optional<PartsOfQueries> looked = parts;
    if (looked) looked->begin += first;
    const ScanTile tile = looked ? tile_for_parts(some.count, *looked) : tile_for(some.count, wgmma_);
    Batch made(spec, rows_->scanned(), some, tile, most, room, tile.wide() ? limits_.wide_shared : limits_.shared,
               min_scores != nullptr ? min_scores + first : nullptr);
    looked ? search_parts(made, mask, *looked) : search_all(made, mask);
    take(made, first, most);
  }
}

void RowSearch::look_at(Batch& batch, const Window& window, const RowsOnDevice& rows,
                        const DeviceArray<uint16_t>& mask) const {
  batch.look_at(rows, mask.size() > 0 ? mask.data(window.first / kBlockRows) : DevicePointer<const uint16_t>());
}

void RowSearch::search_all(Batch& batch, const DeviceArray<uint16_t>& mask) const {
  const size_t least = batch.room();  // a power of two, and whole tiles
  const size_t query_tiles = (batch.size() + batch.tile().queries - 1) / batch.tile().queries;
  std::vector<size_t> windows(rows_->windows().size());
  std::iota(windows.begin(), windows.end(), size_t{0});
  std::vector<ScanItem> items;
  Pace pace;
  rows_->each(windows, [&](const Window& window, const RowsOnDevice& there) {
    look_at(batch, window, there, mask);
    const size_t all = std::min(window.end, rows_->end()) - window.first;
    for (size_t first = 0; first < all;) {
      const size_t seen = window.first + first;
      const size_t wanted = std::min(seen * limits_.growth, pace.most) / kWholeTiles * kWholeTiles;
      size_t rows = std::min(std::max(least, wanted), all - first);
      while (true) {
        items.clear();
        add_items(batch.tile(), narrow(first), narrow(first + rows),
                  narrow(std::max(side_by_side(batch.tile()) / query_tiles, size_t{1})), 0, narrow(batch.size()),
                  items);
        if (pace.takes(batch.round(items), batch.room(), rows)) break;
        rows = std::max(rows / 2 / kWholeTiles * kWholeTiles, least);
      }
      first += rows;
    }
  });
}

// As many queries as look at a piece, of those that some look at.
ScanTile RowSearch::tile_for_parts(size_t queries, const PartsOfQueries& parts) const {
  std::vector<bool> seen(rows_->parts());
  size_t visits = 0, pieces = 0;
  for (uint32_t i = parts.begin[0]; i < parts.begin[queries]; ++i) {
    const uint32_t part = parts.parts[i], held = rows_->first_piece(part + 1) - rows_->first_piece(part);
    visits += held;
    if (!seen[part]) pieces += held;
    seen[part] = true;
  }
  return tile_for((visits + pieces) / std::max(pieces, size_t{1}), wgmma_);
}

// A round takes as many pieces of every query, in its own order, window after window.
void RowSearch::search_parts(Batch& batch, const DeviceArray<uint16_t>& mask, const PartsOfQueries& parts) const {
  std::vector<std::vector<std::vector<uint32_t>>> pieces(rows_->windows().size());  // in each window, of each query
  for (uint32_t q = 0; q < batch.size(); ++q)
    for (uint32_t i = parts.begin[q]; i < parts.begin[q + 1]; ++i)
      for (uint32_t p = rows_->first_piece(parts.parts[i]); p < rows_->first_piece(parts.parts[i] + 1); ++p) {
        auto& of_queries = pieces[rows_->window_of(p)];
        of_queries.resize(batch.size());
        of_queries[q].push_back(p);
      }
  std::vector<size_t> windows;
  for (size_t w = 0; w < pieces.size(); ++w)
    if (!pieces[w].empty()) windows.push_back(w);
  std::vector<std::pair<uint32_t, uint32_t>> seen;
  std::vector<ScanItem> items;
  size_t done = 0;  // pieces of a query
  Pace pace;
  auto at = windows.begin();
  rows_->each(windows, [&](const Window& window, const RowsOnDevice& there) {
    look_at(batch, window, there, mask);
    const auto& mine = pieces[*at++];
    size_t longest = 0;
    for (const auto& of : mine) longest = std::max(longest, of.size());
    for (size_t first = 0; first < longest;) {
      size_t count = std::max(std::min((done + first) * limits_.growth, pace.most), size_t{1});
      while (true) {
        seen.clear();
        for (uint32_t q = 0; q < batch.size(); ++q)
          for (size_t i = first; i < std::min(first + count, mine[q].size()); ++i) seen.emplace_back(mine[q][i], q);
        const Visits visits = by_piece(seen);
        items.clear();
        for (size_t i = 0; i < visits.pieces.size(); ++i) {
          const auto [from, to] = rows_->slots_of(visits.pieces[i]);
          add_items(batch.tile(), narrow(from - window.first), narrow(to - window.first), 1, visits.begin[i],
                    visits.begin[i + 1] - visits.begin[i], items);
        }
        count = std::min(count, longest - first);
        if (pace.takes(batch.round(items, visits.visitors), batch.room(), count)) break;
        count = std::max(count / 2, size_t{1});
      }
      first += count;
    }
    done += longest;
  });
}

}  // namespace bebr::cuda
