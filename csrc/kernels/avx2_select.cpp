// AVX2: select.
//
// Layout: kernels.h. Which rows are above the threshold is 64 bits for 64 rows.
//
// Instructions: vcvtph2ps; vpackssdw, vpacksswb and vpmovmskb, which make bits of 32 comparisons.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,fma,f16c,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE __m256i load_avx2_select(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// What select compares and where it writes.
struct Selection {
  __m256 base, scale, threshold;
  uint32_t first_row;
  uint32_t* rows;
  float* scores;
  size_t kept;
  __m128i low, step;  // of FactorCode
};

// Eight factors. Those of one byte are fp16 patterns.
BEBR_INLINE __m256 factors_avx2(const uint32_t bytes, const Selection& to, const uint8_t* stored) {
  if (bytes == 4) return _mm256_loadu_ps(reinterpret_cast<const float*>(stored));
  if (bytes == 2) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stored)));
  const __m128i codes = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(stored)));
  return _mm256_cvtph_ps(_mm_add_epi16(to.low, _mm_mullo_epi16(codes, to.step)));
}

// Scores of 8 rows.
BEBR_INLINE __m256 score_avx2(const Factor mode, const uint32_t bytes, const Selection& to, const int32_t* sums,
                              const uint8_t* factors) {
  const __m256 sum = _mm256_cvtepi32_ps(load_avx2_select(sums));
  const __m256 score = _mm256_add_ps(to.base, _mm256_mul_ps(to.scale, sum));
  if (mode == Factor::None) return score;
  const __m256 factor = factors_avx2(bytes, to, factors);
  return mode == Factor::Mul ? _mm256_mul_ps(score, factor) : _mm256_sub_ps(score, factor);
}

BEBR_INLINE __m256 above_avx2(const Selection& to, __m256 score) {
  return _mm256_cmp_ps(score, to.threshold, _CMP_GT_OQ);
}

// Keeps those of rows i .. i + 7 that are above the threshold, `here` exist and the mask allows.
BEBR_INLINE void keep_avx2(Selection& to, size_t i, __m256 score, size_t here, const uint16_t* mask) {
  uint32_t keep = static_cast<uint32_t>(_mm256_movemask_ps(above_avx2(to, score))) & ((1u << here) - 1);
  if (mask != nullptr) keep &= uint32_t{mask[i / 16]} >> (i % 16);
  float scores[8];
  _mm256_storeu_ps(scores, score);
  for (; keep != 0; keep &= keep - 1, ++to.kept) {
    const uint32_t k = static_cast<uint32_t>(__builtin_ctz(keep));
    to.rows[to.kept] = to.first_row + static_cast<uint32_t>(i) + k;
    to.scores[to.kept] = scores[k];
  }
}

// Which of 32 rows are above the threshold.
BEBR_INLINE uint64_t above_32_avx2(const Selection& to, const __m256* score) {
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i above[4];
#pragma GCC unroll 4
  for (size_t v = 0; v < 4; ++v) above[v] = _mm256_castps_si256(above_avx2(to, score[v]));
  const __m256i all =
      _mm256_packs_epi16(_mm256_packs_epi32(above[0], above[1]), _mm256_packs_epi32(above[2], above[3]));
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(all, in_order)));
}

// 64 rows at a time. Which of them are kept cannot be foreseen, nor whether any is: two are written in any case, of
// which those count that are there, and few groups have more.
BEBR_INLINE size_t select_mode_avx2(const Factor mode, const uint32_t bytes, const int32_t* sums, size_t rows,
                                    const uint8_t* factors, const uint16_t* mask, Selection to) {
  size_t i = 0;
  for (; i + 64 <= rows; i += 64) {
    float scores[64];
    uint64_t keep = 0;
#pragma GCC unroll 2
    for (size_t half = 0; half < 64; half += 32) {
      __m256 score[4];
#pragma GCC unroll 4
      for (size_t v = 0; v < 4; ++v) {
        const size_t at = half + 8 * v;
        score[v] = score_avx2(mode, bytes, to, sums + i + at, factors + (i + at) * bytes);
        _mm256_storeu_ps(scores + at, score[v]);
      }
      keep |= above_32_avx2(to, score) << half;
    }
    if (mask != nullptr) {
      uint64_t allowed;
      std::memcpy(&allowed, mask + i / 16, sizeof allowed);
      keep &= allowed;
    }
    const auto put = [&] {
      const auto k = static_cast<uint32_t>(__builtin_ctzll(keep | uint64_t{1} << 63));  // none left: the last one
      to.rows[to.kept] = to.first_row + static_cast<uint32_t>(i) + k;
      to.scores[to.kept] = scores[k];
    };
#pragma GCC unroll 2
    for (int n = 0; n < 2; ++n) {
      put();
      to.kept += keep != 0 ? 1 : 0;
      keep &= keep - 1;
    }
    for (; keep != 0; keep &= keep - 1, ++to.kept) put();
  }
  for (; i + 8 <= rows; i += 8) keep_avx2(to, i, score_avx2(mode, bytes, to, sums + i, factors + i * bytes), 8, mask);
  if (i < rows) {
    const size_t here = rows - i;
    int32_t last_sums[8] = {};
    uint8_t last_factors[8 * sizeof(float)] = {};  // the inputs end here
    std::memcpy(last_sums, sums + i, here * sizeof(int32_t));
    if (mode != Factor::None) std::memcpy(last_factors, factors + i * bytes, here * bytes);
    keep_avx2(to, i, score_avx2(mode, bytes, to, last_sums, last_factors), here, mask);
  }
  return to.kept;
}

BEBR_INLINE size_t select_bytes_avx2(const Factor mode, uint32_t bytes, const int32_t* sums, size_t rows,
                                     const uint8_t* factors, const uint16_t* mask, const Selection& to) {
  if (bytes == 1) return select_mode_avx2(mode, 1, sums, rows, factors, mask, to);
  if (bytes == 2) return select_mode_avx2(mode, 2, sums, rows, factors, mask, to);
  return select_mode_avx2(mode, 4, sums, rows, factors, mask, to);
}

size_t select_avx2(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                   const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                   uint32_t* kept_rows, float* kept_scores) noexcept {
  const Selection to = {_mm256_set1_ps(base),
                        _mm256_set1_ps(scale),
                        _mm256_set1_ps(threshold),
                        first_row,
                        kept_rows,
                        kept_scores,
                        0,
                        _mm_set1_epi16(static_cast<int16_t>(code.low)),
                        _mm_set1_epi16(static_cast<int16_t>(code.step))};
  if (mode == Factor::None) return select_mode_avx2(Factor::None, 0, sums, rows, nullptr, mask, to);
  if (mode == Factor::Mul) return select_bytes_avx2(Factor::Mul, code.bytes, sums, rows, factors, mask, to);
  return select_bytes_avx2(Factor::Sub, code.bytes, sums, rows, factors, mask, to);
}

}  // namespace

void bind_avx2_select(Kernels& table) noexcept { table.select = select_avx2; }

}  // namespace bebr
