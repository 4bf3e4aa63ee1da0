// AVX2: whole codes as bytes, 16 rows side by side, and their products with many queries (kernels.h: expand,
// dot_expanded).
//
// Layout: a register has 4 bytes of a plane for each of 8 rows, by group. Each nibble looks up where its 4 bits go: to
// one bit of digits of four planes, two digits in a byte. Unpacking then brings 4 dims of a row together, as they are
// stored.
//
// Bounds: a 16-bit lane takes the products of two dims a step. Quads are added up there for as long as neither the
// positive nor the negative entries of any query could leave 16 bits with the largest byte there is: a run. Then they
// join the sums in memory. A quad that is too large by itself is two halves, of entries of at most 64: 2 * 64 * 255.
//
// Instructions: vpshufb, of which 4 serve 256 bits of a plane; vpmaddubsw of 16 rows x 6 queries (12 sums in
// registers).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx2_bits.h"
#include "kernels/avx2_rows.h"
#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,fma,f16c,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE __m256i load_avx2_expand(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
BEBR_INLINE void store_avx2_expand(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// What a nibble of plane t gives its 4 dims, for a digit whose bit w is this plane's: dims 0 and 2 in the halves of a
// byte, and 1 and 3.
struct Spread {
  alignas(16) uint8_t even[4][16], odd[4][16];
};
constexpr Spread make_spread() {
  Spread spread{};
  for (uint32_t w = 0; w < 4; ++w) {
    for (uint32_t n = 0; n < 16; ++n) {
      spread.even[w][n] = static_cast<uint8_t>(((n & 1) | (n >> 2 & 1) << 4) << w);
      spread.odd[w][n] = static_cast<uint8_t>(((n >> 1 & 1) | (n >> 3) << 4) << w);
    }
  }
  return spread;
}
constexpr Spread kSpread = make_spread();

BEBR_INLINE __m256i twice_avx2(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}

// Digits of up to four planes, two in a byte, of 4 groups of 8 rows: of the first 4 dims of the groups and of the last.
struct Digits {
  __m256i even[2], odd[2];
};

// Of planes `first` to `end`; the last of a digit's four is plane `last`.
BEBR_INLINE Digits digits_avx2(const __m256i (*plane)[4], uint32_t quad, uint32_t first, uint32_t end, uint32_t last) {
  const __m256i by_group = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9,
                                            13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m256i nibble = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
  Digits digits = {{zero, zero}, {zero, zero}};
  for (uint32_t t = first; t < end; ++t) {
    const __m256i bits = _mm256_shuffle_epi8(plane[t][quad], by_group);
    const __m256i low = _mm256_and_si256(bits, nibble), high = _mm256_and_si256(_mm256_srli_epi16(bits, 4), nibble);
    const __m256i even = twice_avx2(kSpread.even[last - t]), odd = twice_avx2(kSpread.odd[last - t]);
    digits.even[0] = _mm256_or_si256(digits.even[0], _mm256_shuffle_epi8(even, low));
    digits.odd[0] = _mm256_or_si256(digits.odd[0], _mm256_shuffle_epi8(odd, low));
    digits.even[1] = _mm256_or_si256(digits.even[1], _mm256_shuffle_epi8(even, high));
    digits.odd[1] = _mm256_or_si256(digits.odd[1], _mm256_shuffle_epi8(odd, high));
  }
  return digits;
}

// 32 dims of eight rows. end: of the planes that reach them. few: 4 planes at most have one digit.
BEBR_INLINE void expand_quad_avx2(const bool few, uint32_t planes, const __m256i (*plane)[4], uint32_t quad,
                                  uint32_t end, uint8_t* out) {
  const __m256i lower = _mm256_set1_epi8(15), upper = _mm256_set1_epi8(static_cast<char>(0xf0));
  const uint32_t above = few ? 0 : planes - 4;  // planes of the upper digit
  const Digits low = digits_avx2(plane, quad, above, end, planes - 1);
  Digits high = {};
  if (!few) high = digits_avx2(plane, quad, 0, end < above ? end : above, above - 1);
#pragma GCC unroll 2
  for (size_t half = 0; half < 2; ++half, out += 64) {
#pragma GCC unroll 2
    for (size_t two = 0; two < 2; ++two) {  // groups 2 * two and the next
      const __m256i l = two == 0 ? _mm256_unpacklo_epi8(low.even[half], low.odd[half])
                                 : _mm256_unpackhi_epi8(low.even[half], low.odd[half]);
      __m256i first = _mm256_and_si256(l, lower), second = _mm256_and_si256(_mm256_srli_epi16(l, 4), lower);
      if (!few) {
        const __m256i h = two == 0 ? _mm256_unpacklo_epi8(high.even[half], high.odd[half])
                                   : _mm256_unpackhi_epi8(high.even[half], high.odd[half]);
        first = _mm256_or_si256(first, _mm256_and_si256(_mm256_slli_epi16(h, 4), upper));
        second = _mm256_or_si256(second, _mm256_and_si256(h, upper));
      }
      store_avx2_expand(out + 256 * two, _mm256_unpacklo_epi16(first, second));
      store_avx2_expand(out + 256 * two + 128, _mm256_unpackhi_epi16(first, second));
    }
  }
}

// Groups `at` on, `quads` times four of them, at most 16.
BEBR_INLINE void expand_tile_avx2(const bool few, const CodeSpec& spec, const EightRows& rows, uint32_t at,
                                  uint32_t quads, uint8_t* out) {
  __m256i plane[8][4];
  size_t from = at;
  uint32_t reach = 0;  // planes that reach the tile
  for (; reach < spec.planes && spec.widths[reach] / 8 > at; ++reach) {
    const uint32_t width = spec.widths[reach] / 8;
    if (reach == 0) {
      sign_quads_avx2(rows, width, at, plane[0]);
      continue;
    }
    rest_rows_avx2(rows, from, width - at, plane[reach]);
    transpose_rows_avx2(plane[reach]);
    from += width;
  }
  for (uint32_t quad = 0; quad < quads; ++quad, out += 512) {
    while (reach > 0 && spec.widths[reach - 1] / 8 <= at + 4 * quad) --reach;
    expand_quad_avx2(few, spec.planes, plane, quad, reach, out);
  }
}

void expand_avx2(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t quads = (groups + 7) / 8 * 2;
  for (size_t block = first; block < first + blocks; ++block, out += expanded_bytes(groups)) {
    for (size_t half = 0; half < kBlockRows; half += 8) {
      const size_t row = block * kBlockRows + half, left = view.rows > row ? view.rows - row : 0;
      uint8_t* to = out + 4 * half;
      if (left == 0) {
        for (uint32_t d = 0; d < 8 * quads; ++d) store_avx2_expand(to + 64 * size_t{d}, _mm256_setzero_si256());
        continue;
      }
      const EightRows rows = eight_rows_avx2(view, row, left < 8 ? left : 8);
      for (uint32_t quad = 0; quad < quads; quad += 4, to += 4 * 512) {
        const uint32_t some = quads - quad < 4 ? quads - quad : 4;
        if (spec.planes <= 4)
          expand_tile_avx2(true, spec, rows, 4 * quad, some, to);
        else
          expand_tile_avx2(false, spec, rows, 4 * quad, some, to);
      }
    }
  }
}

constexpr size_t kTile = 6;       // queries whose sums are in registers
constexpr uint32_t kPiece = 128;  // quads whose runs are made at a time

// Quads that are added up in 16 bits, and a tile's entries for them, one place of 8 queries a quad.
struct Run {
  uint32_t quad, steps;
  const int32_t* entries;
};

struct Runs {
  alignas(32) int32_t entries[2 * kPiece][8];
  Run run[2 * kPiece];
  size_t count = 0;
};

// The runs of `queries` queries over `quads` quads; `most`: the largest byte that they meet.
BEBR_INLINE void make_runs_avx2(const size_t queries, const int8_t* y8, size_t y_row, uint32_t first, uint32_t quads,
                                uint32_t most, Runs& runs) {
  const __m256i ones = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
  const __m256i limit = _mm256_set1_epi16(static_cast<int16_t>(most == 0 ? 32000 : 32000 / most));
  __m256i plus = zero, minus = zero;  // of the run so far: sums of its positive entries, and of its negative ones
  size_t step = 0;
  bool open = false;
  runs.count = 0;
  for (uint32_t quad = first; quad < first + quads; ++quad, ++step) {
    int32_t* entries = runs.entries[step];
    int32_t four[8] = {};  // not written to `entries` one by one: a load of all would wait for these stores
#pragma GCC unroll 6
    for (size_t q = 0; q < queries; ++q) std::memcpy(four + q, y8 + q * y_row + 4 * size_t{quad}, sizeof *four);
    const __m256i y = _mm256_setr_epi32(four[0], four[1], four[2], four[3], four[4], four[5], four[6], four[7]);
    store_avx2_expand(entries, y);
    const __m256i up = _mm256_max_epi8(y, zero), down = _mm256_sub_epi8(up, y);
    const __m256i here_plus = _mm256_maddubs_epi16(up, ones), here_minus = _mm256_maddubs_epi16(down, ones);
    plus = _mm256_add_epi16(plus, here_plus);
    minus = _mm256_add_epi16(minus, here_minus);
    const __m256i over = _mm256_cmpgt_epi16(_mm256_max_epi16(plus, minus), limit);
    if (open && _mm256_testz_si256(over, over) != 0) {
      ++runs.run[runs.count - 1].steps;
      continue;
    }
    plus = here_plus;
    minus = here_minus;
    runs.run[runs.count++] = {quad, 1, entries};
    const __m256i alone = _mm256_cmpgt_epi16(_mm256_max_epi16(plus, minus), limit);
    open = _mm256_testz_si256(alone, alone) != 0;
    if (open) continue;
    ++step;  // two halves
    int8_t both[2][32];
    std::memcpy(both[0], entries, sizeof both[0]);
    for (size_t i = 0; i < 32; ++i) {
      const int entry = both[0][i];
      both[0][i] = static_cast<int8_t>(entry / 2);
      both[1][i] = static_cast<int8_t>(entry - entry / 2);
    }
    std::memcpy(entries, both[0], sizeof both[0]);
    std::memcpy(runs.entries[step], both[1], sizeof both[1]);
    runs.run[runs.count++] = {quad, 1, runs.entries[step]};
  }
}

// Adds a run of one block to the sums, or writes it there.
BEBR_INLINE void dot_run_avx2(const size_t queries, const uint8_t* expanded, const Run& run, bool add, int32_t* sums,
                              size_t stride) {
  __m256i acc[kTile][2];
#pragma GCC unroll 6
  for (size_t q = 0; q < queries; ++q) acc[q][0] = acc[q][1] = _mm256_setzero_si256();
  const uint8_t* u = expanded + size_t{run.quad} * 64;
  const int32_t *entries = run.entries, *end = entries + 8 * size_t{run.steps};
  do {  // one step at least: with its test in front, g++ would copy all sums in every step
    const __m256i u0 = load_avx2_expand(u), u1 = load_avx2_expand(u + 32);
#pragma GCC unroll 6
    for (size_t q = 0; q < queries; ++q) {
      const __m256i y = _mm256_set1_epi32(entries[q]);
      acc[q][0] = _mm256_add_epi16(acc[q][0], _mm256_maddubs_epi16(u0, y));
      acc[q][1] = _mm256_add_epi16(acc[q][1], _mm256_maddubs_epi16(u1, y));
      __asm__ volatile("" : "+x"(acc[q][0]), "+x"(acc[q][1]));  // one after the other: g++ would spill
    }
    entries += 8;
    u += 64;
  } while (entries != end);
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 6
  for (size_t q = 0; q < queries; ++q) {
#pragma GCC unroll 2
    for (size_t half = 0; half < 2; ++half) {
      int32_t* to = sums + q * stride + 8 * half;
      const __m256i sum = _mm256_madd_epi16(acc[q][half], ones);
      store_avx2_expand(to, add ? _mm256_add_epi32(sum, load_avx2_expand(to)) : sum);
    }
  }
}

struct Products {
  const uint8_t* expanded;
  size_t blocks, block_bytes, y_row;
  uint32_t first, quads;  // that are multiplied
  uint32_t most;
};

BEBR_INLINE void dot_tile_avx2(const size_t queries, const Products& p, const int8_t* y8, int32_t* sums, size_t stride,
                               Runs& runs) {
  make_runs_avx2(queries, y8, p.y_row, p.first, p.quads, p.most, runs);
  for (size_t b = 0; b < p.blocks; ++b)
    for (size_t r = 0; r < runs.count; ++r)
      dot_run_avx2(queries, p.expanded + b * p.block_bytes, runs.run[r], p.first + r > 0, sums + b * kBlockRows,
                   stride);
}

// The largest of the bytes that are multiplied.
uint32_t most_avx2(const uint8_t* expanded, size_t blocks, size_t block_bytes, size_t used) noexcept {
  __m256i most[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (size_t b = 0; b < blocks; ++b, expanded += block_bytes) {
#pragma GCC unroll 4
    for (size_t at = 0; at < used; at += 64) {
      most[0] = _mm256_max_epu8(most[0], load_avx2_expand(expanded + at));
      most[1] = _mm256_max_epu8(most[1], load_avx2_expand(expanded + at + 32));
      __asm__("" : "+x"(most[0]), "+x"(most[1]));  // g++ would copy both in every step
    }
  }
  uint8_t bytes[32];
  store_avx2_expand(bytes, _mm256_max_epu8(most[0], most[1]));
  uint8_t largest = 0;
  for (const uint8_t byte : bytes) largest = byte > largest ? byte : largest;
  return largest;
}

void dot_expanded_avx2(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                       int32_t* sums, size_t stride) noexcept {
  const uint32_t quads = 2 * groups;
  const size_t y_row = y8_stride(groups), block = expanded_bytes(groups);
  const uint32_t most = most_avx2(expanded, blocks, block, size_t{quads} * 64);
  Runs runs;
  for (uint32_t first = 0; first < quads; first += kPiece) {
    const Products p = {expanded, blocks, block, y_row, first, quads - first < kPiece ? quads - first : kPiece, most};
    const int8_t* y = y8;
    int32_t* to = sums;
    size_t left = count;
    for (; left >= 6; left -= 6, y += 6 * y_row, to += 6 * stride) dot_tile_avx2(6, p, y, to, stride, runs);
    if (left >= 4) {
      dot_tile_avx2(4, p, y, to, stride, runs);
      left -= 4, y += 4 * y_row, to += 4 * stride;
    }
    if (left >= 2) {
      dot_tile_avx2(2, p, y, to, stride, runs);
      left -= 2, y += 2 * y_row, to += 2 * stride;
    }
    if (left == 1) dot_tile_avx2(1, p, y, to, stride, runs);
  }
}

void expand_tail_avx2(const ScanView& view, uint32_t tile, const uint32_t* rows, size_t count, uint32_t first,
                      uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), quads = (groups + 3) / 4;
  const size_t tail = y8_stride(groups) - 64 * size_t{tile};
  // Each byte of 32 bits for 8 dims, and the bit of each.
  const __m256i repeated =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  for (size_t i = 0; i < count; ++i) {
    const uint8_t *block = view.blocks + rows[i] / kBlockRows * block_bytes(spec),
                  *rest = view.rest + rows[i] * spec.rest_bytes();
    uint8_t* to = out + (rows[i] - first) * tail;
    for (uint32_t quad = 2 * tile; quad < quads; ++quad, to += 32) {
      const uint32_t at = 4 * quad, left = groups - at < 4 ? groups - at : 4;
      uint32_t bits = row_bits_avx2(block + at * kBlockRows + rows[i] % kBlockRows * left, left);
      __m256i u = _mm256_setzero_si256();
      const uint8_t* plane = rest;
      for (uint32_t t = 0;;) {
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(bits)), repeated);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
        u = _mm256_or_si256(u, _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(1 << (spec.planes - 1 - t)))));
        if (++t == spec.planes || spec.widths[t] <= 32 * quad) break;
        bits = row_bits_avx2(plane + at, spec.widths[t] / 8 - at);
        plane += spec.widths[t] / 8;
      }
      store_avx2_expand(to, u);
    }
    if (quads % 2 != 0 && quads > 2 * tile) store_avx2_expand(to, _mm256_setzero_si256());
  }
}

// How many products of two bytes of any size with entries no larger than these add up in 16 bits: 0, 2 or 4.
BEBR_INLINE int products_avx2(const int8_t* y8, size_t bytes) {
  // |-128| is 128 without a sign.
  __m256i most = _mm256_setzero_si256();
  for (size_t j = 0; j < bytes; j += 32) most = _mm256_max_epu8(most, _mm256_abs_epi8(load_avx2_expand(y8 + j)));
  const auto within = [&](char largest) {
    const __m256i limit = _mm256_set1_epi8(largest);
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(most, limit), limit)) == -1;
  };
  return within(32) ? 4 : within(64) ? 2 : 0;
}

// The products of 32 bytes with 32 entries of any size, in 8 sums.
BEBR_INLINE __m256i dot32_avx2(__m256i u, __m256i y) {
  const __m256i low = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(u)),
                                        _mm256_cvtepi8_epi16(_mm256_castsi256_si128(y)));
  const __m256i high = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(u, 1)),
                                         _mm256_cvtepi8_epi16(_mm256_extracti128_si256(y, 1)));
  return _mm256_add_epi32(low, high);
}

// The products of 64 bytes with 64 entries, in 8 sums.
BEBR_INLINE __m256i dot64_avx2(const int products, const uint8_t* bytes, __m256i y0, __m256i y1) {
  const __m256i u0 = load_avx2_expand(bytes), u1 = load_avx2_expand(bytes + 32), ones = _mm256_set1_epi16(1);
  if (products == 0) return _mm256_add_epi32(dot32_avx2(u0, y0), dot32_avx2(u1, y1));
  const __m256i first = _mm256_maddubs_epi16(u0, y0), second = _mm256_maddubs_epi16(u1, y1);
  if (products == 4) return _mm256_madd_epi16(_mm256_add_epi16(first, second), ones);
  return _mm256_add_epi32(_mm256_madd_epi16(first, ones), _mm256_madd_epi16(second, ones));
}

// Four rows side by side, of which the last ones may be the same.
BEBR_INLINE void dot_tails_avx2(const int products, const uint8_t* tails, size_t bytes, const int8_t* y8,
                                const uint32_t* rows, size_t count, uint32_t first, int32_t* out) {
  for (size_t i = 0; i < count; i += 4) {
    const size_t some = count - i < 4 ? count - i : 4;
    const uint8_t* u[4];
    __m256i sum[4];
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; ++r) {
      u[r] = tails + (rows[i + (r < some ? r : some - 1)] - first) * bytes;
      sum[r] = _mm256_setzero_si256();
    }
    for (size_t j = 0; j < bytes; j += 64) {
      const __m256i y0 = load_avx2_expand(y8 + j), y1 = load_avx2_expand(y8 + j + 32);
#pragma GCC unroll 4
      for (size_t r = 0; r < 4; ++r) sum[r] = _mm256_add_epi32(sum[r], dot64_avx2(products, u[r] + j, y0, y1));
    }
    alignas(16) int32_t four[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(four), sum_four_avx2(sum));
    for (size_t r = 0; r < some; ++r) out[i + r] = four[r];
  }
}

void dot_tail_avx2(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                   uint32_t first, int32_t* out) noexcept {
  switch (products_avx2(y8, bytes)) {
    case 4:
      return dot_tails_avx2(4, tails, bytes, y8, rows, count, first, out);
    case 2:
      return dot_tails_avx2(2, tails, bytes, y8, rows, count, first, out);
    default:
      return dot_tails_avx2(0, tails, bytes, y8, rows, count, first, out);
  }
}

}  // namespace

void bind_avx2_expand(Kernels& table) noexcept {
  table.expand = expand_avx2;
  table.dot_expanded = dot_expanded_avx2;
  table.small_product = 4000;  // of those 8 fit into 16 bits: a run has four quads and more
  table.expand_queries = 20;   // docs/experiments/avx2.md
  table.expand_tail = expand_tail_avx2;
  table.dot_tail = dot_tail_avx2;
  table.tail_tiles = 40;
  table.lead_lists = 24;
}

}  // namespace bebr
