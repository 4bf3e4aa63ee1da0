#include "cuda/plan.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "cuda/codes.h"

namespace bebr::cuda {
namespace {

uint32_t stage_bytes(ScanTile tile, uint32_t steps, uint32_t bytes) {
  return tile.queries * query_pitch(steps) + tile.rows * bytes;
}

// only: the chunk, where there is one.
ScanRoom room_for(ScanTile tile, uint32_t chunks, uint32_t steps, const ScanChunk& only, uint32_t stage) {
  ScanRoom room;
  room.numbers = ((4 * chunks + (1 + kQuads) * steps) * 4 + 15) / 16 * 16;
  const auto of_query = static_cast<uint32_t>(sizeof(QueryNumbers) + (tile.wide() ? kWideWarps * sizeof(int32_t) : 0));
  room.stages = (room.numbers + tile.queries * of_query + 127) / 128 * 128;
  room.query_stage = chunks > 1 ? stage : 0;
  room.code_stage = chunks > 1 ? stage : tile.rows * only.bytes;
  room.bytes = room.stages + (chunks > 1 ? 2 * stage : stage_bytes(tile, only.steps, 2 * only.bytes));
  return room;
}

ScanRoom room_of(ScanTile tile, const ScanPlan& plan) {
  uint32_t stage = 0;
  for (const ScanChunk& c : plan.chunks) stage = std::max(stage, stage_bytes(tile, c.steps, c.bytes));
  return room_for(tile, static_cast<uint32_t>(plan.chunks.size()), plan.steps(), plan.chunks.front(), stage);
}

struct Maker {
  const CodeSpec& spec;
  std::span<const uint32_t> copied;
  const std::vector<uint32_t> groups = make_groups(spec);

  uint32_t first_byte(uint32_t group) const { return group < groups.size() ? groups[group] >> 4 : spec.row_bytes(); }

  // Quads of the groups [first, last), as positions in the query, repeated ones behind.
  std::vector<uint32_t> quads_of(uint32_t first, uint32_t last) const {
    std::vector<uint32_t> quads;
    for (uint32_t quad = 2 * first; quad < 2 * last; ++quad) quads.push_back(quad);
    for (size_t i = 0; i < copied.size(); ++i)
      if (copied[i] / 2 >= first && copied[i] / 2 < last) quads.push_back(static_cast<uint32_t>(2 * groups.size() + i));
    return quads;
  }

  void add(uint32_t first, uint32_t last, ScanPlan& plan) const {
    std::vector<uint32_t> from = quads_of(first, last);
    from.resize((from.size() + kQuads - 1) / kQuads * kQuads, kNoQuad);
    const auto steps = static_cast<uint32_t>(from.size() / kQuads);
    plan.chunks.push_back({plan.steps(), steps, first_byte(first), first_byte(last) - first_byte(first)});
    for (uint32_t i = 0; i < from.size(); ++i) {
      uint32_t entry = 0;
      if (from[i] != kNoQuad) {
        const uint32_t quad = from[i] < 2 * groups.size() ? from[i] : copied[from[i] - 2 * groups.size()];
        entry = (first_byte(quad / 2) - first_byte(first)) << 5 | (quad % 2) << 4 | (groups[quad / 2] & 15);
      }
      plan.quads.push_back(entry);
      if (i % kQuads == 0) plan.depths.push_back(entry & 15);
      if (plan.depths.back() != (entry & 15)) plan.depths.back() = 0;
    }
    plan.from.insert(plan.from.end(), from.begin(), from.end());
  }
};

}  // namespace

ScanTile tile_for(size_t queries, bool wgmma) {
  for (const ScanTile& tile : kScanTiles)
    if (queries <= tile.queries) return tile;
  // Half of a wide tile would take as long as two of 64 queries do without wgmma.
  return wgmma && queries > kWideTile.queries / 2 ? kWideTile : std::end(kScanTiles)[-1];
}

ScanPlan make_plan(const CodeSpec& spec, std::span<const uint32_t> copied, ScanTile tile, size_t shared) {
  const Maker make{spec, copied};
  ScanPlan whole;
  whole.wide = tile.wide();
  make.add(0, spec.groups(), whole);
  whole.room = room_of(tile, whole);
  if (whole.room.bytes <= shared) return whole;
  // Chunks of as many groups as fit beside the tables of `expected` chunks, at least one.
  for (uint32_t expected = 2;; expected *= 2) {
    ScanPlan plan;
    plan.wide = tile.wide();
    const auto fits = [&](uint32_t first, uint32_t last) {
      const auto steps = static_cast<uint32_t>((make.quads_of(first, last).size() + kQuads - 1) / kQuads);
      const uint32_t bytes = make.first_byte(last) - make.first_byte(first);
      return room_for(tile, expected, whole.steps() + expected, {}, stage_bytes(tile, steps, bytes)).bytes <= shared;
    };
    for (uint32_t first = 0; first < spec.groups();) {
      uint32_t last = first + 1;
      while (last < spec.groups() && fits(first, last + 1)) ++last;
      make.add(first, last, plan);
      first = last;
    }
    plan.room = room_of(tile, plan);
    if (plan.chunks.size() <= expected) return plan;
  }
}

std::vector<uint32_t> plan_words(const ScanPlan& plan) {
  std::vector<uint32_t> words;
  for (const ScanChunk& c : plan.chunks) words.insert(words.end(), {c.first_step, c.steps, c.first_byte, c.bytes});
  for (const ScanChunk& c : plan.chunks)
    for (uint32_t k = c.first_step, end = k; k < c.first_step + c.steps; ++k) {
      while (end == k || (end < c.first_step + c.steps && plan.depths[end] == plan.depths[k])) ++end;
      words.push_back(plan.wide ? (end - k) << 4 | plan.depths[k] : plan.depths[k]);
    }
  words.insert(words.end(), plan.quads.begin(), plan.quads.end());
  return words;
}

std::vector<int8_t> arrange(const ScanPlan& plan, const int8_t* y8, size_t count, size_t stride) {
  std::vector<int8_t> out(count * plan.from.size() * 4);
  int8_t* to = out.data();
  for (size_t q = 0; q < count; ++q, y8 += stride)
    for (size_t i = 0; i < plan.from.size(); ++i, to += 4) {
      const size_t at = plan.wide ? i : i / kQuads * kQuads + i % 2 * (kQuads / 2) + i % kQuads / 2;
      const uint32_t quad = plan.from[at];
      if (quad != kNoQuad) std::memcpy(to, y8 + size_t{quad} * 4, 4);
    }
  return out;
}

void add_items(ScanTile tile, uint32_t first_row, uint32_t end_row, uint32_t shares, uint32_t first_visitor,
               uint32_t visitors, std::vector<ScanItem>& items) {
  const uint32_t tiles = (end_row - first_row + tile.rows - 1) / tile.rows;
  shares = std::clamp(tiles, 1u, shares);
  for (uint32_t share = 0; share < shares; ++share) {
    const auto at = [&](uint64_t s) { return static_cast<uint32_t>(first_row + s * tiles / shares * tile.rows); };
    for (uint32_t v = 0; v < visitors; v += tile.queries)
      items.push_back(
          {at(share), std::min(at(share + 1), end_row), first_visitor + v, std::min(tile.queries, visitors - v)});
  }
}

}  // namespace bebr::cuda
