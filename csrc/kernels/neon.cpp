// NEON: scans of the sign plane by tables (kernels.h). Part of every ARM machine of 64 bits.
//
// Layout: of a quad, 16 documents by 4 bytes, ld2 makes 8 documents by groups 0 and 1 and the same 8 by groups 2 and 3.
// A lookup of two registers takes the nibbles of both groups: their tables stand side by side, so an odd byte asks for
// 16 more. Neighbouring bytes are one document's, and uadalp adds both to its sum.
//
// Bounds: joined table entries <= 254; a 16-bit sum takes two of them, four times a quad: 1016. After 64 quads, 65024,
// the sums are widened.
//
// Instructions: ld2, bit (index of a low nibble), sri (of a high one), tbl of two registers, uadalp.
//
// Source: docs/method.md, "Progressive search"; docs/experiments/neon.md.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr uint32_t kPieceQuads = 64;  // until 16 bits are full
constexpr size_t kQuadTableBytes = 128;
constexpr size_t kBatchBytes = 16384;  // nibbles of scan_batch that stay in L1 while all queries pass
constexpr size_t kSortedQuad = 256;    // bytes of the nibbles of a quad of two blocks
constexpr uint32_t kSortFrom = 4;      // queries that sorted nibbles are worth it for

BEBR_INLINE uint8x16x2_t load_two_neon(const uint8_t* p) { return {{vld1q_u8(p), vld1q_u8(p + 16)}}; }

// Byte groups that a scan reads.
BEBR_INLINE uint32_t groups_read_neon(const ScanQueries& queries) {
  return queries.leading != 0 ? queries.leading : queries.groups;
}

// A last quad of 1 .. 3 bytes a document, spread to 4; the table is padded.
BEBR_INLINE void spread_neon(const uint8_t* p, uint32_t bytes, uint8_t* quad) {
  for (uint32_t i = 0; i < kBlockRows; ++i)
    for (uint32_t k = 0; k < bytes; ++k) quad[4 * i + k] = p[i * bytes + k];
}

// One quad of nb blocks for nq queries. sums: cell (q * nb + b) * 2 + half, a half being 8 documents.
BEBR_INLINE void quad_neon(const int nq, const int nb, const uint8_t* const* quads, const uint8_t* const* tables,
                           uint16x8_t* sums) {
  const uint8x16_t nibble = vdupq_n_u8(15), second = vreinterpretq_u8_u16(vdupq_n_u16(0x1000));
  uint8x16_t codes[2][4];  // of groups 0 and 1, then of groups 2 and 3
#pragma GCC unroll 4
  for (int h = 0; h < 2 * nb; ++h) {
    const uint16x8x2_t both = vld2q_u16(reinterpret_cast<const uint16_t*>(quads[h / 2] + h % 2 * 32));
    codes[0][h] = vreinterpretq_u8_u16(both.val[0]);
    codes[1][h] = vreinterpretq_u8_u16(both.val[1]);
  }
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
    uint8x16_t low[4], high[4];
#pragma GCC unroll 4
    for (int h = 0; h < 2 * nb; ++h) {
      high[h] = vsriq_n_u8(second, codes[pair][h], 4);
      low[h] = vbslq_u8(nibble, codes[pair][h], second);
    }
#pragma GCC unroll 4
    for (int q = 0; q < nq; ++q) {
      const uint8_t* table = tables[q] + pair * 32;
      const uint8x16x2_t of_low = load_two_neon(table), of_high = load_two_neon(table + 64);
#pragma GCC unroll 4
      for (int h = 0; h < 2 * nb; ++h) {
        uint16x8_t& sum = sums[q * nb * 2 + h];
        sum = vpadalq_u8(sum, vaddq_u8(vqtbl2q_u8(of_low, low[h]), vqtbl2q_u8(of_high, high[h])));
      }
    }
  }
}

// 16 documents.
BEBR_INLINE void store_sums_neon(const uint16x8_t* cell, const bool first, int32_t bias, int32_t* sums) {
  const uint32x4_t minus = vreinterpretq_u32_s32(vdupq_n_s32(-bias));
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half, sums += 8) {
    const uint32x4_t low = first ? minus : vreinterpretq_u32_s32(vld1q_s32(sums));
    const uint32x4_t high = first ? minus : vreinterpretq_u32_s32(vld1q_s32(sums + 4));
    vst1q_s32(sums, vreinterpretq_s32_u32(vaddw_u16(low, vget_low_u16(cell[half]))));
    vst1q_s32(sums + 4, vreinterpretq_s32_u32(vaddw_high_u16(high, cell[half])));
  }
}

// Sums of nq queries from `query` on over nb blocks from `base` on. Blocks past the end repeat the last and are not
// written.
BEBR_INLINE void tile_neon(const int nq, const int nb, const uint8_t* data, size_t base, size_t blocks,
                           const ScanQueries& queries, uint32_t query, int32_t* sums, size_t stride) {
  const size_t table_stride = table_bytes(queries.groups), block_bytes = size_t{queries.groups} * kBlockRows;
  const uint32_t read = groups_read_neon(queries);
  const uint32_t full = read / 4, tail = read % 4, quads = full + (tail != 0 ? 1 : 0);
  const uint8_t *here[2], *tables[4];
#pragma GCC unroll 2
  for (int b = 0; b < nb; ++b) {
    const size_t at = base + static_cast<size_t>(b);
    here[b] = data + (at < blocks ? at : blocks - 1) * block_bytes;
  }
#pragma GCC unroll 4
  for (int q = 0; q < nq; ++q) tables[q] = queries.tables + (query + static_cast<uint32_t>(q)) * table_stride;
  for (uint32_t from = 0; from < quads; from += kPieceQuads) {
    const uint32_t end = from + kPieceQuads < quads ? from + kPieceQuads : quads, whole = end < full ? end : full;
    uint16x8_t cells[8];
#pragma GCC unroll 8
    for (int c = 0; c < 2 * nq * nb; ++c) cells[c] = vdupq_n_u16(0);
    for (uint32_t quad = from; quad < whole; ++quad) {
      quad_neon(nq, nb, here, tables, cells);
#pragma GCC unroll 2
      for (int b = 0; b < nb; ++b) here[b] += kQuadBytes;
#pragma GCC unroll 4
      for (int q = 0; q < nq; ++q) tables[q] += kQuadTableBytes;
    }
    if (end > full) {
      uint8_t spread[2][kQuadBytes] = {};
      for (int b = 0; b < nb; ++b) spread_neon(here[b], tail, spread[b]);
      const uint8_t* const last[2] = {spread[0], spread[1]};
      quad_neon(nq, nb, last, tables, cells);
    }
#pragma GCC unroll 4
    for (int c = 0; c < nq * nb; ++c) {
      const uint32_t q = query + static_cast<uint32_t>(c / nb);
      const size_t at = base + static_cast<size_t>(c % nb);
      if (at < blocks) store_sums_neon(cells + 2 * c, from == 0, queries.bias[q], sums + q * stride + at * kBlockRows);
    }
  }
}

// Tiles (queries x blocks): 4 x 1, 1 x 2.
void scan_table_neon(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept {
  for (size_t base = 0; base < blocks; base += 4) {
    const size_t end = base + 4 < blocks ? base + 4 : blocks;
    uint32_t q = 0;
    for (; q + 4 <= queries.count; q += 4)
      for (size_t at = base; at < end; ++at) tile_neon(4, 1, data, at, blocks, queries, q, sums, stride);
    for (; q < queries.count; ++q)
      for (size_t at = base; at < end; at += 2) tile_neon(1, 2, data, at, blocks, queries, q, sums, stride);
  }
}

// The nibbles of two blocks as lookups take them, of the first `read` of their groups: of each pair of groups of a
// quad, for each half of a block its low ones, then its high ones. A block past the end repeats the last.
BEBR_INLINE void sort_nibbles_neon(const uint8_t* data, size_t base, size_t blocks, uint32_t groups, uint32_t read,
                                   uint8_t* out) {
  const uint8x16_t nibble = vdupq_n_u8(15), second = vreinterpretq_u8_u16(vdupq_n_u16(0x1000));
  const uint32_t full = read / 4, tail = read % 4, quads = full + (tail != 0 ? 1 : 0);
  for (size_t b = 0; b < 2; ++b) {
    const uint8_t* quad = data + (base + b < blocks ? base + b : blocks - 1) * groups * kBlockRows;
    uint8_t* to = out + b * 64;
    for (uint32_t u = 0; u < quads; ++u, quad += kQuadBytes, to += kSortedQuad) {
      uint8_t spread[kQuadBytes] = {};
      const uint8_t* from = quad;
      if (u == full) {
        spread_neon(quad, tail, spread);
        from = spread;
      }
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const uint16x8x2_t both = vld2q_u16(reinterpret_cast<const uint16_t*>(from + 32 * half));
#pragma GCC unroll 2
        for (int pair = 0; pair < 2; ++pair) {
          const uint8x16_t codes = vreinterpretq_u8_u16(both.val[pair]);
          vst1q_u8(to + pair * (kSortedQuad / 2) + half * 32, vbslq_u8(nibble, codes, second));
          vst1q_u8(to + pair * (kSortedQuad / 2) + half * 32 + 16, vsriq_n_u8(second, codes, 4));
        }
      }
    }
  }
}

// Sums of nq queries from `query` on over two sorted blocks, `there` of which are written.
BEBR_INLINE void tile_sorted_neon(const int nq, const uint8_t* sorted, const ScanQueries& queries, uint32_t query,
                                  size_t there, int32_t* sums, size_t stride) {
  const uint32_t quads = (groups_read_neon(queries) + 3) / 4;
  const uint8_t* tables[4];
#pragma GCC unroll 4
  for (int q = 0; q < nq; ++q)
    tables[q] = queries.tables + (query + static_cast<uint32_t>(q)) * table_bytes(queries.groups);
  for (uint32_t from = 0; from < quads; from += kPieceQuads) {
    const uint32_t end = from + kPieceQuads < quads ? from + kPieceQuads : quads;
    uint16x8_t cells[16];
#pragma GCC unroll 16
    for (int c = 0; c < 4 * nq; ++c) cells[c] = vdupq_n_u16(0);
    const uint8_t* stop = sorted + (end - from) * kSortedQuad;
    do {
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        uint8x16_t low[4], high[4];
#pragma GCC unroll 4
        for (int h = 0; h < 4; ++h) {
          low[h] = vld1q_u8(sorted + 32 * h);
          high[h] = vld1q_u8(sorted + 32 * h + 16);
        }
#pragma GCC unroll 4
        for (int q = 0; q < nq; ++q) {
          const uint8x16x2_t of_low = load_two_neon(tables[q] + 32 * pair),
                             of_high = load_two_neon(tables[q] + 32 * pair + 64);
#pragma GCC unroll 4
          for (int h = 0; h < 4; ++h) {
            uint16x8_t& sum = cells[4 * q + h];
            sum = vpadalq_u8(sum, vaddq_u8(vqtbl2q_u8(of_low, low[h]), vqtbl2q_u8(of_high, high[h])));
            // One cell after the other: g++ would look up for several, and have no registers for two of the sums.
            __asm__ volatile("" : "+w"(sum));
          }
        }
        sorted += kSortedQuad / 2;
      }
#pragma GCC unroll 4
      for (int q = 0; q < nq; ++q) tables[q] += kQuadTableBytes;
    } while (sorted != stop);
#pragma GCC unroll 4
    for (int q = 0; q < nq; ++q) {
      const int32_t bias = queries.bias[query + static_cast<uint32_t>(q)];
      int32_t* to = sums + (query + static_cast<uint32_t>(q)) * stride;
      store_sums_neon(cells + 4 * q, from == 0, bias, to);
      if (there > 1) store_sums_neon(cells + 4 * q + 2, from == 0, bias, to + kBlockRows);
    }
  }
}

// Nibbles are sorted once for all queries, in pieces that stay in L1.
void scan_batch_neon(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept {
  if (queries.count < kSortFrom) return scan_table_neon(data, blocks, queries, sums, stride);
  static thread_local struct alignas(64) Scratch {
    uint8_t nibbles[kBatchBytes < kMaxDims / 32 * kSortedQuad ? kMaxDims / 32 * kSortedQuad : kBatchBytes];
  } scratch;
  const uint32_t read = groups_read_neon(queries);
  const size_t two = (read + 3) / 4 * kSortedQuad, piece = two < kBatchBytes ? kBatchBytes / two * 2 : 2;
  for (size_t base = 0; base < blocks; base += piece) {
    const size_t end = base + piece < blocks ? base + piece : blocks;
    for (size_t at = base; at < end; at += 2)
      sort_nibbles_neon(data, at, blocks, queries.groups, read, scratch.nibbles + (at - base) / 2 * two);
    uint32_t q = 0;
    for (; q + 4 <= queries.count; q += 4)
      for (size_t at = base; at < end; at += 2)
        tile_sorted_neon(4, scratch.nibbles + (at - base) / 2 * two, queries, q, end - at, sums + at * kBlockRows,
                         stride);
    for (; q < queries.count; ++q)
      for (size_t at = base; at < end; at += 2)
        tile_sorted_neon(1, scratch.nibbles + (at - base) / 2 * two, queries, q, end - at, sums + at * kBlockRows,
                         stride);
  }
}

}  // namespace

void bind_neon(Kernels& table) noexcept {
  table.scan_table = scan_table_neon;
  table.scan_batch = scan_batch_neon;
}

}  // namespace bebr
