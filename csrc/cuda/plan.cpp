#include "cuda/plan.h"

#include <algorithm>
#include <cstring>

#include "cuda/codes.h"

namespace bebr::cuda {
namespace {

ScanRoom room_for(uint32_t chunks, uint32_t steps, uint32_t most_steps, uint32_t most_bytes, uint32_t stage) {
  ScanRoom room;
  room.numbers = (4 * chunks + (1 + kQuads) * steps) * 4;
  room.stages = (room.numbers + 3 * kTileQueries * 4 + 15) / 16 * 16;
  room.query_stage = chunks > 1 ? stage : 0;
  room.code_stage = chunks > 1 ? stage : kTileRows * most_bytes;
  room.bytes = room.stages + (chunks > 1 ? 2 * stage : kTileQueries * query_pitch(most_steps) + 2 * room.code_stage);
  return room;
}

uint32_t stage_bytes(uint32_t steps, uint32_t bytes) { return kTileQueries * query_pitch(steps) + kTileRows * bytes; }

ScanRoom room_of(const ScanPlan& plan) {
  const ScanChunk& only = plan.chunks.front();
  uint32_t stage = 0;
  for (const ScanChunk& c : plan.chunks) stage = std::max(stage, stage_bytes(c.steps, c.bytes));
  return room_for(static_cast<uint32_t>(plan.chunks.size()), plan.steps(), only.steps, only.bytes, stage);
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

ScanPlan make_plan(const CodeSpec& spec, std::span<const uint32_t> copied, size_t shared) {
  const Maker make{spec, copied};
  ScanPlan whole;
  make.add(0, spec.groups(), whole);
  whole.room = room_of(whole);
  if (whole.room.bytes <= shared) return whole;
  // Chunks of as many groups as fit beside the tables of `expected` chunks, at least one.
  for (uint32_t expected = 2;; expected *= 2) {
    ScanPlan plan;
    const auto fits = [&](uint32_t first, uint32_t last) {
      const auto steps = static_cast<uint32_t>((make.quads_of(first, last).size() + kQuads - 1) / kQuads);
      const uint32_t bytes = make.first_byte(last) - make.first_byte(first);
      return room_for(expected, whole.steps() + expected, 0, 0, stage_bytes(steps, bytes)).bytes <= shared;
    };
    for (uint32_t first = 0; first < spec.groups();) {
      uint32_t last = first + 1;
      while (last < spec.groups() && fits(first, last + 1)) ++last;
      make.add(first, last, plan);
      first = last;
    }
    plan.room = room_of(plan);
    if (plan.chunks.size() <= expected) return plan;
  }
}

std::vector<uint32_t> plan_words(const ScanPlan& plan) {
  std::vector<uint32_t> words;
  for (const ScanChunk& c : plan.chunks) words.insert(words.end(), {c.first_step, c.steps, c.first_byte, c.bytes});
  words.insert(words.end(), plan.depths.begin(), plan.depths.end());
  words.insert(words.end(), plan.quads.begin(), plan.quads.end());
  return words;
}

std::vector<int8_t> arrange(const ScanPlan& plan, const int8_t* y8, size_t count, size_t stride) {
  std::vector<int8_t> out(count * plan.from.size() * 4);
  int8_t* to = out.data();
  for (size_t q = 0; q < count; ++q, y8 += stride)
    for (const uint32_t quad : plan.from) {
      if (quad != kNoQuad) std::memcpy(to, y8 + size_t{quad} * 4, 4);
      to += 4;
    }
  return out;
}

}  // namespace bebr::cuda
