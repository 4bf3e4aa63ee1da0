// AVX-512: select and complete.
//
// Layout: kernels.h, code/layout.h. Bounds: y16 sums wrap modulo 2^32 and end below 2^31.
//
// Instructions: vpdpwssd (y16 sums), vcvtph2ps, vpcompressd. Source: docs/method.md, "Progressive search".
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

// Survivors prefetched ahead, into L2: the 16 line buffers of L1 hold little more than one row.
constexpr size_t kRowsAhead = 10;

// What select compares and where it writes.
struct Selection {
  __m512 base, scale, threshold;
  uint32_t first_row;
  uint32_t* rows;
  float* scores;
  size_t kept;
  __m256i low, step;  // of FactorCode
};

// Factors of rows i .. i + 15, of which `here` exist. Those of one byte are fp16 patterns.
BEBR_INLINE __m512 factors_avx512(const uint32_t bytes, const Selection& to, const uint8_t* factors, size_t i,
                                  __mmask16 here) {
  if (bytes == 4) return _mm512_maskz_loadu_ps(here, factors + 4 * i);
  if (bytes == 2) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(here, factors + 2 * i));
  const __m256i steps = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(_mm_maskz_loadu_epi8(here, factors + i)), to.step);
  return _mm512_cvtph_ps(_mm256_add_epi16(to.low, steps));
}

// Scores of rows i .. i + 15, of which `here` exist.
BEBR_INLINE __m512 score_avx512(const Factor mode, const uint32_t bytes, const Selection& to, const int32_t* sums,
                                const uint8_t* factors, size_t i, __mmask16 here) {
  const __m512 sum = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(here, sums + i));
  const __m512 score = _mm512_add_ps(to.base, _mm512_mul_ps(to.scale, sum));
  if (mode == Factor::None) return score;
  const __m512 factor = factors_avx512(bytes, to, factors, i, here);
  return mode == Factor::Mul ? _mm512_mul_ps(score, factor) : _mm512_sub_ps(score, factor);
}

// Compressed in a register and stored whole: kept <= i, so the 16 entries are within the promised room, and a
// compressing store to memory is microcoded on AMD.
BEBR_INLINE void keep_avx512(Selection& to, size_t i, __mmask16 keep, __m512 score) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i row = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int32_t>(to.first_row + i)), lane);
  _mm512_storeu_si512(to.rows + to.kept, _mm512_maskz_compress_epi32(keep, row));
  _mm512_storeu_ps(to.scores + to.kept, _mm512_maskz_compress_ps(keep, score));
  to.kept += static_cast<size_t>(__builtin_popcount(keep));
}

BEBR_INLINE __mmask16 above_avx512(const Selection& to, const uint16_t* mask, size_t i, __mmask16 here, __m512 score) {
  const __mmask16 allowed = mask != nullptr ? static_cast<__mmask16>(here & mask[i / 16]) : here;
  return _mm512_mask_cmp_ps_mask(allowed, score, to.threshold, _CMP_GT_OQ);
}

// 32 rows to a branch: almost always none of them is kept.
BEBR_INLINE size_t select_mode_avx512(const Factor mode, const uint32_t bytes, const int32_t* sums, size_t rows,
                                      const uint8_t* factors, const uint16_t* mask, Selection to) {
  size_t i = 0;
  for (; i + 32 <= rows; i += 32) {
    const __m512 first = score_avx512(mode, bytes, to, sums, factors, i, 0xffff);
    const __m512 second = score_avx512(mode, bytes, to, sums, factors, i + 16, 0xffff);
    const __mmask16 keep_first = above_avx512(to, mask, i, 0xffff, first);
    const __mmask16 keep_second = above_avx512(to, mask, i + 16, 0xffff, second);
    if (_kortestz_mask16_u8(keep_first, keep_second) != 0) continue;
    keep_avx512(to, i, keep_first, first);
    keep_avx512(to, i + 16, keep_second, second);
  }
  for (; i < rows; i += 16) {
    const __mmask16 here = rows - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (rows - i)) - 1);
    const __m512 score = score_avx512(mode, bytes, to, sums, factors, i, here);
    keep_avx512(to, i, above_avx512(to, mask, i, here, score), score);
  }
  return to.kept;
}

BEBR_INLINE size_t select_bytes_avx512(const Factor mode, uint32_t bytes, const int32_t* sums, size_t rows,
                                       const uint8_t* factors, const uint16_t* mask, const Selection& to) {
  if (bytes == 1) return select_mode_avx512(mode, 1, sums, rows, factors, mask, to);
  if (bytes == 2) return select_mode_avx512(mode, 2, sums, rows, factors, mask, to);
  return select_mode_avx512(mode, 4, sums, rows, factors, mask, to);
}

size_t select_avx512(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                     const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                     uint32_t* kept_rows, float* kept_scores) noexcept {
  const Selection to = {_mm512_set1_ps(base),
                        _mm512_set1_ps(scale),
                        _mm512_set1_ps(threshold),
                        first_row,
                        kept_rows,
                        kept_scores,
                        0,
                        _mm256_set1_epi16(static_cast<int16_t>(code.low)),
                        _mm256_set1_epi16(static_cast<int16_t>(code.step))};
  if (mode == Factor::None) return select_mode_avx512(Factor::None, 1, sums, rows, factors, mask, to);
  if (mode == Factor::Mul) return select_bytes_avx512(Factor::Mul, code.bytes, sums, rows, factors, mask, to);
  return select_bytes_avx512(Factor::Sub, code.bytes, sums, rows, factors, mask, to);
}

// Two accumulators, because one would wait for itself: vpdpwssd takes 5 cycles, and comes every 2 or 3.
struct Pair {
  __m512i even, odd;
};

BEBR_INLINE uint32_t sum_avx512(const Pair& acc) {
  return static_cast<uint32_t>(_mm512_reduce_add_epi32(_mm512_add_epi32(acc.even, acc.odd)));
}

BEBR_INLINE __m512i plane_weight_avx512(const CodeSpec& spec, uint32_t t) {
  return _mm512_set1_epi16(static_cast<int16_t>(1 << (spec.planes - 1 - t)));
}

// acc += weight * sum of the 32 entries of y16 whose bit is set.
BEBR_INLINE __m512i add_bits_avx512(__m512i acc, uint32_t bits, const int16_t* y16, __m512i weight) {
  return _mm512_dpwssd_epi32(acc, _mm512_maskz_loadu_epi16(bits, y16), weight);
}

BEBR_INLINE uint32_t load_bits_avx512(const uint8_t* p) {
  uint32_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return bits;
}

// The same of 1 to 3 bytes.
BEBR_INLINE uint32_t load_few_bits_avx512(const uint8_t* p, uint32_t bytes) {
  uint32_t bits = 0;
  for (uint32_t k = 0; k < bytes; ++k) bits |= uint32_t{p[k]} << (8 * k);
  return bits;
}

// acc += the planes first .. last - 1, contiguous from `plane` on. With bits b = (r + 1) / 2, a score is
// 2 * (sum over set bits) - PlaneRange::ones.
BEBR_INLINE void add_planes_avx512(Pair& acc, const CodeSpec& spec, uint32_t first, uint32_t last, const uint8_t* plane,
                                   const int16_t* y16) {
  for (uint32_t t = first; t < last; ++t) {
    const __m512i weight = plane_weight_avx512(spec, t);
    const uint32_t width = spec.widths[t];
    uint32_t j = 0;
    for (; j + 64 <= width; j += 64) {
      acc.even = add_bits_avx512(acc.even, load_bits_avx512(plane + j / 8), y16 + j, weight);
      acc.odd = add_bits_avx512(acc.odd, load_bits_avx512(plane + j / 8 + 4), y16 + j + 32, weight);
    }
    if (j + 32 <= width) {
      acc.even = add_bits_avx512(acc.even, load_bits_avx512(plane + j / 8), y16 + j, weight);
      j += 32;
    }
    if (j < width) {  // 1 to 3 bytes; the row may end there
      acc.odd = add_bits_avx512(acc.odd, load_few_bits_avx512(plane + j / 8, (width - j) / 8), y16 + j, weight);
    }
    plane += width / 8;
  }
}

// The same for the sign plane, in a block: 32 dims of a document are 4 adjacent bytes of a quad.
BEBR_INLINE void add_sign_avx512(Pair& acc, const CodeSpec& spec, const uint8_t* block, uint32_t document,
                                 const int16_t* y16) {
  const __m512i weight = plane_weight_avx512(spec, 0);
  const uint32_t groups = spec.groups();
  const uint8_t* quad = block + document * 4;
  uint32_t g = 0;
  for (; g + 8 <= groups; g += 8, quad += 2 * kQuadBytes) {
    acc.even = add_bits_avx512(acc.even, load_bits_avx512(quad), y16 + g * 8, weight);
    acc.odd = add_bits_avx512(acc.odd, load_bits_avx512(quad + kQuadBytes), y16 + g * 8 + 32, weight);
  }
  if (g + 4 <= groups) {
    acc.even = add_bits_avx512(acc.even, load_bits_avx512(quad), y16 + g * 8, weight);
    g += 4;
  }
  if (g < groups) {
    const uint8_t* tail = block + g * kBlockRows + document * (groups - g);
    acc.odd = add_bits_avx512(acc.odd, load_few_bits_avx512(tail, groups - g), y16 + g * 8, weight);
  }
}

BEBR_INLINE void prefetch_avx512(const uint8_t* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(p + at), _MM_HINT_T1);
}

void complete_avx512(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                     size_t count, int32_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const size_t sign_bytes = block_bytes(spec), rest_bytes = spec.rest_bytes();
  const uint32_t ones = static_cast<uint32_t>(range.ones);
  uint32_t from = 0, bytes = 0;  // of the rest: where the range begins, and what it takes
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  for (uint32_t t = range.first == 0 ? 1 : range.first; t < range.last; ++t) bytes += spec.widths[t] / 8;
  for (size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) {
      const size_t next = rows[i + kRowsAhead];
      if (range.first == 0) prefetch_avx512(view.blocks + next / kBlockRows * sign_bytes, sign_bytes);
      prefetch_avx512(view.rest + next * rest_bytes + from, bytes);
    }
    Pair acc = {};
    if (range.first == 0)
      add_sign_avx512(acc, spec, view.blocks + rows[i] / kBlockRows * sign_bytes, rows[i] % kBlockRows, y16);
    add_planes_avx512(acc, spec, range.first == 0 ? 1 : range.first, range.last,
                      view.rest + rows[i] * rest_bytes + from, y16);
    out[i] = static_cast<int32_t>(2 * sum_avx512(acc) - ones);
  }
}

}  // namespace

void bind_avx512_score(Kernels& table) noexcept {
  table.select = select_avx512;
  table.complete = complete_avx512;
}

}  // namespace bebr
