// AVX-512: what makes a graph's query (kernels.h: weigh, round16, round8, squares, largest, fill_tables).
//
// Layout: 16 entries are a vector, so the running sums of the specification are its lanes. Of tables, 4 bytes of a code
// at a time: their 8 nibbles' values are 32 words of a vector, from which vpermw picks those of two nibbles.
//
// Bounds: entries before rounding are below 2^22 in size (kernels.h); words of tables wrap as the specification's do.
//
// Instructions: vpmovdb, vpmovdw, vpmovwb, vpermw.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE __m512i nearest_avx512_query(__m512 x) {
  const __m512 raised = _mm512_add_ps(x, _mm512_set1_ps(12582912.0f));
  return _mm512_sub_epi32(_mm512_castps_si512(raised), _mm512_set1_epi32(0x4b400000));
}

// Added by halves.
BEBR_INLINE float sum_avx512_query(__m512 x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

void weigh_avx512(const float* y, const uint16_t* groups, const float* weights, size_t bytes, float* out) noexcept {
  for (size_t i = 0; i < bytes; ++i)
    _mm256_storeu_ps(out + 8 * i,
                     _mm256_mul_ps(_mm256_set1_ps(weights[i]), _mm256_loadu_ps(y + 8 * size_t{groups[i]})));
}

int32_t round16_avx512(const float* x, size_t n, float step, int16_t* to) noexcept {
  auto *low = reinterpret_cast<int8_t*>(to + n), *high = low + n;
  const __m512 per = _mm512_set1_ps(1 / step);
  const __m512i half = _mm512_set1_epi32(128);
  __m512i total = _mm512_setzero_si512();
  for (size_t b = 0; b < n; b += 16) {
    const __m512i entry = nearest_avx512_query(_mm512_mul_ps(_mm512_loadu_ps(x + b), per));
    total = _mm512_add_epi32(total, entry);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + b), _mm512_cvtepi32_epi16(entry));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low + b), _mm512_cvtepi32_epi8(entry));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + b),
                     _mm512_cvtepi32_epi8(_mm512_srai_epi32(_mm512_add_epi32(entry, half), 8)));
  }
  return _mm512_reduce_add_epi32(total);
}

Rounding round8_avx512(const float* x, size_t n, float step, int8_t* to) noexcept {
  const __m512 per = _mm512_set1_ps(1 / step), steps = _mm512_set1_ps(step);
  __m512i total = _mm512_setzero_si512();
  __m512 lost = _mm512_setzero_ps();
  for (size_t b = 0; b < n; b += 16) {
    const __m512 value = _mm512_loadu_ps(x + b);
    const __m512i entry = nearest_avx512_query(_mm512_mul_ps(value, per));
    total = _mm512_add_epi32(total, entry);
    const __m512 off = _mm512_sub_ps(value, _mm512_mul_ps(steps, _mm512_cvtepi32_ps(entry)));
    lost = _mm512_add_ps(lost, _mm512_mul_ps(off, off));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + b), _mm512_cvtepi32_epi8(entry));
  }
  return {_mm512_reduce_add_epi32(total), sum_avx512_query(lost)};
}

float squares_avx512(const float* x, size_t n) noexcept {
  __m512 sum = _mm512_setzero_ps();
  for (size_t b = 0; b < n; b += 16) {
    const __m512 value = _mm512_loadu_ps(x + b);
    sum = _mm512_add_ps(sum, _mm512_mul_ps(value, value));
  }
  return sum_avx512_query(sum);
}

float largest_avx512(const float* x, size_t n) noexcept {
  __m512 most = _mm512_setzero_ps();
  for (size_t b = 0; b < n; b += 16) {
    const __mmask16 here = n - b < 16 ? __mmask16{0xff} : __mmask16{0xffff};
    most = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(here, x + b)), most);
  }
  return _mm512_reduce_max_ps(most);
}

int32_t fill_tables_avx512(const float* x, uint32_t bytes, float step, uint8_t* tables) noexcept {
  const __m512 per = _mm512_set1_ps(1 / step);
  const __m512i first =
      _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(8), 1);  // values of a byte: 8 words
  const __m512i half = _mm512_set1_epi16(128);
  __m512i sizes = _mm512_setzero_si512();
  for (uint32_t byte = 0; byte < bytes; byte += 4) {
    const uint32_t left = bytes - byte < 4 ? bytes - byte : 4;
    __m256i twice[2], none[2];  // words, a value each; what a nibble without bits has, four times
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t floats = left <= 2 * h ? 0 : 8 * (left - 2 * h);
      const __mmask16 here = floats >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << floats) - 1);
      const __m512i value =
          nearest_avx512_query(_mm512_mul_ps(_mm512_maskz_loadu_ps(here, x + 8 * size_t{byte} + 16 * h), per));
      const __m512i size = _mm512_abs_epi32(value);
      sizes = _mm512_add_epi32(sizes, size);
      __m512i rest = _mm512_sub_epi32(size, value);
      rest = _mm512_add_epi32(rest, _mm512_shuffle_epi32(rest, _MM_PERM_BADC));
      rest = _mm512_add_epi32(rest, _mm512_shuffle_epi32(rest, _MM_PERM_CDAB));
      twice[h] = _mm512_cvtepi32_epi16(_mm512_add_epi32(value, value));
      none[h] = _mm512_cvtepi32_epi16(rest);
    }
    const __m512i values = _mm512_inserti64x4(_mm512_castsi256_si512(twice[0]), twice[1], 1);
    const __m512i nones = _mm512_inserti64x4(_mm512_castsi256_si512(none[0]), none[1], 1);
    for (uint32_t pair = 0; pair < 4; ++pair) {  // nibble pair % 2 of bytes pair / 2 * 2 and the next one
      if (pair / 2 * 2 >= left) break;
      const auto from = static_cast<int16_t>(16 * (pair / 2) + 4 * (pair % 2));
      const __m512i at = _mm512_add_epi16(first, _mm512_set1_epi16(from));
      __m512i entry = _mm512_permutexvar_epi16(at, nones);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __mmask32 set = i == 0 ? 0xaaaaaaaa : i == 1 ? 0xcccccccc : i == 2 ? 0xf0f0f0f0 : 0xff00ff00;
        const __m512i value =
            _mm512_permutexvar_epi16(_mm512_add_epi16(at, _mm512_set1_epi16(static_cast<int16_t>(i))), values);
        entry = _mm512_mask_add_epi16(entry, set, entry, value);
      }
      const __m256i two = _mm512_cvtepi16_epi8(_mm512_srli_epi16(_mm512_add_epi16(entry, half), 8));
      uint8_t* to = tables + byte / 4 * 128 + pair % 2 * 64 + pair / 2 * 32;
      if (left - pair / 2 * 2 >= 2)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), two);
      else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(two));
    }
  }
  return _mm512_reduce_add_epi32(sizes);
}

}  // namespace

void bind_avx512_query(Kernels& table) noexcept {
  table.weigh = weigh_avx512;
  table.round16 = round16_avx512;
  table.round8 = round8_avx512;
  table.squares = squares_avx512;
  table.largest = largest_avx512;
  table.fill_tables = fill_tables_avx512;
}

}  // namespace bebr
