// How a batch of queries meets codes in the scan: the order of dims in the product, cut into chunks that fit into
// shared memory. A k-step of the tensor cores takes 32 dims, which are 8 quads of 4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "code/spec.h"

namespace bebr::cuda {

// What a block of threads multiplies at a time. Expanding a row's code costs as much as some 20 queries multiplied with
// it, so few queries come with many rows (docs/gpu-roofline.md).
struct ScanTile {
  uint32_t rows, queries;
  constexpr bool wide() const noexcept { return queries > 128; }  // multiplied by wgmma
};
inline constexpr ScanTile kScanTiles[] = {{256, 8}, {256, 32}, {128, 64}};
inline constexpr ScanTile kWideTile = {128, 256};
inline constexpr uint32_t kWideWarps = 8;  // of a block that multiplies it
// For so many queries that meet the same rows. wgmma: whether the device has it.
ScanTile tile_for(size_t queries, bool wgmma);

inline constexpr uint32_t kQuads = 8;     // a k-step
inline constexpr uint32_t kNoQuad = ~0u;  // of the query, where a k-step is filled up with zeros

// A chunk: groups of 8 dims that stand side by side in a block, and the quads that a query repeats from them.
struct ScanChunk {
  uint32_t first_step, steps;
  uint32_t first_byte, bytes;  // of a row
};

// What a kernel must know of a query beside its bytes.
struct alignas(16) QueryNumbers {
  float base, scale, threshold, by_scale;  // by_scale: 1 / scale, where a kernel asks for it
};

// Shared memory of a block of threads: the plan, numbers of queries, of a wide tile each warp's least sums of them,
// then queries and behind them codes. There are two stages, one for what is multiplied and one for what comes next;
// queries of a single chunk stay.
struct ScanRoom {
  uint32_t numbers = 0, stages = 0, query_stage = 0, code_stage = 0, bytes = 0;
};
// Of a query in shared memory: 4 rows of 4 pairs of words meet no bank twice.
#if defined(__CUDACC__)
__host__ __device__
#endif
    inline constexpr uint32_t query_pitch(uint32_t steps) {
  return 32 * (steps | 1);
}

struct ScanPlan {
  std::vector<ScanChunk> chunks;
  // Of each quad: its group's first byte in the chunk's part of a row << 5 | half << 4 | the group's depth; 0: none.
  std::vector<uint32_t> quads;
  std::vector<uint32_t> depths;  // of each k-step, where its quads have one; else 0
  std::vector<uint32_t> from;    // of each quad: which one of the query's
  bool wide = false;             // ScanTile::wide()
  ScanRoom room;
  uint32_t steps() const noexcept { return static_cast<uint32_t>(depths.size()); }
};

// copied: as of ByteQueries. shared: bytes of shared memory that a block may take.
ScanPlan make_plan(const CodeSpec& spec, std::span<const uint32_t> copied, ScanTile tile, size_t shared);

// What the device is told: chunks, depths of k-steps, quads. For wgmma a depth comes with how many steps of the chunk
// from this one on have it, << 4.
std::vector<uint32_t> plan_words(const ScanPlan& plan);

// Queries of make_byte_queries, rows of `stride` bytes, in the plan's order: rows of 32 * steps bytes. In a k-step,
// what one lane multiplies stands together, quads 0, 4, 1, 5, 2, 6, 3, 7; for wgmma, which reads shared memory by
// itself, all are in order.
std::vector<int8_t> arrange(const ScanPlan& plan, const int8_t* y8, size_t count, size_t stride);

// Rows that some queries look at: the work of a block of threads, which ends with its rows. first_row: a multiple
// of 16.
struct ScanItem {
  uint32_t first_row, end_row;
  uint32_t first_visitor, visitors;  // at most ScanTile::queries
};

// Items of rows [first_row, end_row), a block for each of `shares` pieces of them and as many visitors as a tile takes.
// Blocks that run together read the same rows.
void add_items(ScanTile tile, uint32_t first_row, uint32_t end_row, uint32_t shares, uint32_t first_visitor,
               uint32_t visitors, std::vector<ScanItem>& items);

}  // namespace bebr::cuda
