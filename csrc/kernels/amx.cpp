// AMX: scan_batch and dot_expanded on int8 tiles. The rest of the bundle is avx512*.cpp.
//
// Operation: sums[q, i] = sum_j y8_q[j] r_i[j]. A tile: 16 queries x 64 dims of y8. B tile: 64 dims x 16 documents, row
// k = dims 4k .. 4k + 3 of 16 documents, which is one vpermd of a 16-entry table of four +-1 bytes by the documents'
// nibbles: the block layout needs no transpose of bits. C tile: 16 x 16 sums, written straight to `sums`.
//
// Bound: |sum| <= 127 * 512 groups, in int32 tiles.
//
// Instructions: vpermb (4 groups of 16 documents to 16 of 4), vpermd, tdpbssd (16 cycles each; 2 x 2 C tiles, so that
// every loaded tile is used twice). The next 32 documents' B tiles are built while the tile unit multiplies these.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,amx-tile,amx-int8")

namespace bebr {
namespace {

constexpr size_t kTileRows = 16, kTileRowBytes = 64, kTileBytes = kTileRows * kTileRowBytes;
constexpr size_t kMaxSteps = kMaxDims / 64;  // steps of 64 dims

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

struct alignas(64) Scratch {
  uint8_t documents[2][2 * kMaxSteps * kTileBytes];  // B tiles of 32 documents: step s of group b is tile 2 * s + b
  int8_t queries[kTileRows * kMaxDims];              // the last, incomplete tile of queries
};

// One quad of a block; its last may have fewer than 4 bytes a document (code/layout.h).
BEBR_INLINE __m512i load_quad_amx(const uint8_t* p, uint32_t groups_left) {
  if (groups_left >= 4) return _mm512_loadu_si512(p);
  const __m512i document = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i first =
      _mm512_mullo_epi32(document, _mm512_set1_epi32(static_cast<int32_t>(0x01010101u * groups_left)));
  const __m512i from = _mm512_add_epi8(first, _mm512_set1_epi32(0x03020100));
  const __mmask64 there = 0x1111111111111111u * ((1u << groups_left) - 1);
  const __m512i bytes = _mm512_maskz_loadu_epi8((__mmask64{1} << (groups_left * kBlockRows)) - 1, p);
  return _mm512_maskz_permutexvar_epi8(there, from, bytes);
}

// Rows 0 .. 15 of one B tile: byte groups 8 * step .. 8 * step + 7 of one block.
BEBR_INLINE void build_tile_amx(const uint8_t* block, uint32_t groups, uint32_t step, __m512i signs, uint8_t* tile) {
#pragma GCC unroll 2
  for (uint32_t half = 0; half < 2; ++half) {
    const uint32_t first = step * 8 + half * 4;
    // Dword i: the 4 bytes of document i; vpermd reads its low nibble. Dims past the code meet zeros of y8.
    __m512i nibbles =
        first < groups ? load_quad_amx(block + first * kBlockRows, groups - first) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      _mm512_store_si512(tile + half * 8 * kTileRowBytes + k * kTileRowBytes, _mm512_permutexvar_epi32(nibbles, signs));
      nibbles = _mm512_srli_epi32(nibbles, 4);
    }
  }
}

// B tiles of step `step` of blocks base and base + 1 (past the end: the last block again, whose sums are not written).
BEBR_INLINE void build_step_amx(const uint8_t* data, size_t base, size_t blocks, uint32_t groups, uint32_t step,
                                __m512i signs, uint8_t* documents) {
  const size_t block_bytes = size_t{groups} * kBlockRows, second = base + 1 < blocks ? base + 1 : base;
  build_tile_amx(data + base * block_bytes, groups, step, signs, documents + 2 * step * kTileBytes);
  build_tile_amx(data + second * block_bytes, groups, step, signs, documents + (2 * step + 1) * kTileBytes);
}

// What one pass over the dims multiplies: one or two tiles of queries with 32 documents.
struct Pass {
  const int8_t* queries[2];  // first row of each tile, rows y8_stride apart
  size_t written[2];         // 0 .. 16 rows of each are written; 0: there is no such tile
  const uint8_t* documents;
  int32_t* sums;  // of the first query and the first document
  size_t sums_stride;
  size_t blocks;  // 1 or 2 are written
};

// The blocks to build while a pass multiplies (the tile unit works beside the vector units); documents null: none.
struct Ahead {
  const uint8_t* data;
  size_t base, blocks;
  uint8_t* documents;
};

BEBR_INLINE void copy_part_amx(const int32_t* part, const Pass& pass, size_t tile) {
  int32_t* sums = pass.sums + tile * kTileRows * pass.sums_stride;
  for (size_t q = 0; q < pass.written[tile]; ++q)
    for (size_t b = 0; b < pass.blocks; ++b)
      _mm512_storeu_si512(sums + q * pass.sums_stride + b * 16, _mm512_load_si512(part + (b * kTileRows + q) * 16));
}

// C tiles 0 1 are the first queries' sums with the two blocks, 2 3 the second's.
BEBR_INLINE void store_amx(const bool two, const Pass& pass, size_t sums_row) {
  alignas(64) int32_t part[2 * kTileRows * 16];
  if (pass.written[0] == kTileRows && pass.blocks == 2) {
    _tile_stored(0, pass.sums, sums_row);
    _tile_stored(1, pass.sums + 16, sums_row);
  } else {
    _tile_stored(0, part, kTileRowBytes);
    _tile_stored(1, part + kTileRows * 16, kTileRowBytes);
    copy_part_amx(part, pass, 0);
  }
  if (!two) return;
  if (pass.written[1] == kTileRows && pass.blocks == 2) {
    _tile_stored(2, pass.sums + kTileRows * pass.sums_stride, sums_row);
    _tile_stored(3, pass.sums + kTileRows * pass.sums_stride + 16, sums_row);
  } else {
    _tile_stored(2, part, kTileRowBytes);
    _tile_stored(3, part + kTileRows * 16, kTileRowBytes);
    copy_part_amx(part, pass, 1);
  }
}

// A tiles 4 5, B tiles 6 7.
BEBR_INLINE void pass_amx(const bool two, const Pass& pass, uint32_t groups, const Ahead& ahead, __m512i signs) {
  const uint32_t steps = (groups + 7) / 8;
  const size_t row = y8_stride(groups), sums_row = pass.sums_stride * sizeof(int32_t);
  _tile_zero(0);
  _tile_zero(1);
  if (two) _tile_zero(2);
  if (two) _tile_zero(3);
  for (uint32_t step = 0; step < steps; ++step) {
    _tile_loadd(6, pass.documents + 2 * step * kTileBytes, kTileRowBytes);
    _tile_loadd(4, pass.queries[0] + step * 64, row);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, pass.documents + (2 * step + 1) * kTileBytes, kTileRowBytes);
    _tile_dpbssd(1, 4, 7);
    if (two) {
      _tile_loadd(5, pass.queries[1] + step * 64, row);
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    }
    if (ahead.documents != nullptr)
      build_step_amx(ahead.data, ahead.base, ahead.blocks, groups, step, signs, ahead.documents);
  }
  store_amx(two, pass, sums_row);
}

void scan_batch_amx(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                    size_t stride) noexcept {
  static thread_local Scratch scratch;
  static constexpr TileConfig kConfig;
  if (blocks == 0 || queries.count == 0) return;
  const uint32_t groups = queries.groups, steps = (groups + 7) / 8, whole = queries.count / 16 * 16;
  const size_t row = y8_stride(groups);
  if (whole < queries.count) {
    const size_t used = (queries.count - whole) * row;
    std::memcpy(scratch.queries, queries.y8 + whole * row, used);
    std::memset(scratch.queries + used, 0, kTileRows * row - used);
  }
  // Bit i of nibble n is bit 4n + i of this constant: dword n of `signs` is the +-1 of nibble n.
  const __m512i signs = _mm512_mask_blend_epi8(0xfedcba9876543210u, _mm512_set1_epi8(-1), _mm512_set1_epi8(1));
  for (uint32_t step = 0; step < steps; ++step)
    build_step_amx(data, 0, blocks, groups, step, signs, scratch.documents[0]);

  _tile_loadconfig(&kConfig);
  for (size_t base = 0; base < blocks; base += 2) {
    uint8_t* next = base + 2 < blocks ? scratch.documents[(base / 2 + 1) % 2] : nullptr;
    // The compiler does not know what a tile load reads: the stores of the built tiles must be done before it.
    __asm__ volatile("" ::: "memory");
    for (uint32_t q = 0; q < queries.count; q += 32) {
      Pass pass = {{},
                   {},
                   scratch.documents[base / 2 % 2],
                   sums + q * stride + base * kBlockRows,
                   stride,
                   blocks - base < 2 ? blocks - base : 2};
      for (uint32_t tile = 0; tile < 2; ++tile) {
        const uint32_t first = q + tile * 16, left = first < queries.count ? queries.count - first : 0;
        pass.written[tile] = left < 16 ? left : 16;
        pass.queries[tile] = left < 16 ? scratch.queries : queries.y8 + first * row;
      }
      const Ahead ahead = {data, base + 2, blocks, q == 0 ? next : nullptr};
      if (pass.written[1] > 0)
        pass_amx(true, pass, groups, ahead, signs);
      else
        pass_amx(false, pass, groups, ahead, signs);
    }
  }
  _tile_release();
}

// dot_expanded: an expanded block already has the layout of B tiles, so nothing is built.
BEBR_INLINE void dot_pass_amx(const bool two, const Pass& pass, uint32_t steps, size_t block_bytes) {
  const size_t row = steps * size_t{64}, sums_row = pass.sums_stride * sizeof(int32_t);
  const uint8_t* second = pass.documents + (pass.blocks == 2 ? block_bytes : 0);
  _tile_zero(0);
  _tile_zero(1);
  if (two) _tile_zero(2);
  if (two) _tile_zero(3);
  for (uint32_t step = 0; step < steps; ++step) {
    _tile_loadd(6, pass.documents + step * kTileBytes, kTileRowBytes);
    _tile_loadd(4, pass.queries[0] + step * 64, row);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(7, second + step * kTileBytes, kTileRowBytes);
    _tile_dpbsud(1, 4, 7);
    if (two) {
      _tile_loadd(5, pass.queries[1] + step * 64, row);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
    }
  }
  store_amx(two, pass, sums_row);
}

void dot_expanded_amx(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                      int32_t* sums, size_t stride) noexcept {
  static thread_local int8_t last[kTileRows * kMaxDims];  // the incomplete tile of queries
  static constexpr TileConfig kConfig;
  if (blocks == 0 || count == 0) return;
  const uint32_t steps = (groups + 7) / 8;
  const size_t row = y8_stride(groups), whole = count / 16 * 16;
  if (whole < count) {
    const size_t used = (count - whole) * row;
    std::memcpy(last, y8 + whole * row, used);
    std::memset(last + used, 0, kTileRows * row - used);
  }
  _tile_loadconfig(&kConfig);
  __asm__ volatile("" ::: "memory");  // as in scan_batch
  for (size_t base = 0; base < blocks; base += 2) {
    for (size_t q = 0; q < count; q += 32) {
      Pass pass = {{},
                   {},
                   expanded + base * expanded_bytes(groups),
                   sums + q * stride + base * kBlockRows,
                   stride,
                   blocks - base < 2 ? blocks - base : 2};
      for (size_t tile = 0; tile < 2; ++tile) {
        const size_t first = q + tile * 16, left = first < count ? count - first : 0;
        pass.written[tile] = left < 16 ? left : 16;
        pass.queries[tile] = left < 16 ? last : y8 + first * row;
      }
      if (pass.written[1] > 0)
        dot_pass_amx(true, pass, steps, expanded_bytes(groups));
      else
        dot_pass_amx(false, pass, steps, expanded_bytes(groups));
    }
  }
  _tile_release();
}

}  // namespace

void bind_amx(Kernels& table) noexcept {
  table.scan_batch = scan_batch_amx;
  table.dot_expanded = dot_expanded_amx;
  table.expand_queries = 4;
  table.tail_tiles = 0;  // a product of 64 bytes is cheaper than what it takes to leave it out
  table.batch_queries = 256;
  table.batch_tables = false;
}

}  // namespace bebr
