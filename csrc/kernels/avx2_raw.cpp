// Raw rows in AVX2 + FMA + F16C: four sums of 8 entries (fp16), or one of 16 (int8). A row is prefetched kAhead rows
// early; the last entries of a row are copied into 8 or 16 entries padded with zeros.
#include <cstring>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2,fma,f16c")

namespace bebr {
namespace {

constexpr size_t kAhead = 4, kLine = 64;

[[gnu::always_inline]] inline void ask_for(const uint8_t* row, size_t bytes) noexcept {
  for (size_t at = 0; at < bytes; at += kLine) _mm_prefetch(row + at, _MM_HINT_T0);
  _mm_prefetch(row + bytes - 1, _MM_HINT_T0);
}

[[gnu::always_inline]] inline __m256 eight(const uint8_t* row, size_t j) noexcept {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * j)));
}

[[gnu::always_inline]] inline void ask_for_first(const uint8_t* data, size_t stride, const uint32_t* rows, size_t count,
                                                 size_t bytes) noexcept {
  for (size_t i = 0; i < kAhead && i < count; ++i) ask_for(data + rows[i] * stride, bytes);
}

// Adds to `sum` a product, or the square of a difference.
[[gnu::always_inline]] inline __m256 add(const bool l2, __m256 q, __m256 x, __m256 sum) noexcept {
  if (!l2) return _mm256_fmadd_ps(q, x, sum);
  const __m256 apart = _mm256_sub_ps(q, x);
  return _mm256_fmadd_ps(apart, apart, sum);
}

[[gnu::always_inline]] inline float total(__m256 v) noexcept {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

[[gnu::always_inline]] inline int32_t total(__m256i v) noexcept {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

[[gnu::always_inline]] inline void score_f16(const bool l2, const float* q, uint32_t dim, const uint8_t* data,
                                             size_t stride, const uint32_t* rows, size_t count, float* out) noexcept {
  const size_t whole = dim / 8 * 8, left = dim - whole;
  alignas(32) float q_end[8] = {};
  if (left > 0) std::memcpy(q_end, q + whole, left * sizeof(float));
  ask_for_first(data, stride, rows, count, size_t{dim} * 2);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask_for(data + rows[i + kAhead] * stride, size_t{dim} * 2);
    const uint8_t* row = data + rows[i] * stride;
    __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t j = 0;
    for (; j + 32 <= whole; j += 32) {
#pragma GCC unroll 4
      for (unsigned v = 0; v < 4; ++v)
        sums[v] = add(l2, _mm256_loadu_ps(q + j + 8 * v), eight(row, j + 8 * v), sums[v]);
    }
    for (; j < whole; j += 8) sums[0] = add(l2, _mm256_loadu_ps(q + j), eight(row, j), sums[0]);
    if (left > 0) {
      alignas(16) uint8_t end[16] = {};
      std::memcpy(end, row + 2 * whole, 2 * left);
      sums[1] = add(l2, _mm256_load_ps(q_end), eight(end, 0), sums[1]);
    }
    out[i] = total(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
  }
}

void raw_dot_f16_avx2(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                      size_t count, float* out) noexcept {
  score_f16(false, q, dim, data, stride, rows, count, out);
}
void raw_l2_f16_avx2(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                     size_t count, float* out) noexcept {
  score_f16(true, q, dim, data, stride, rows, count, out);
}

[[gnu::always_inline]] inline __m256i sixteen(const uint8_t* row) noexcept {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
}

void raw_dot_i8_avx2(const int16_t* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                     size_t count, int32_t* dots, int32_t* squares) noexcept {
  const size_t whole = dim / 16 * 16, left = dim - whole;
  alignas(32) int16_t q_end[16] = {};
  if (left > 0) std::memcpy(q_end, q + whole, left * sizeof(int16_t));
  ask_for_first(data, stride, rows, count, dim);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask_for(data + rows[i + kAhead] * stride, dim);
    const uint8_t* row = data + rows[i] * stride;
    __m256i dot = _mm256_setzero_si256(), square = _mm256_setzero_si256();
    for (size_t j = 0; j < whole; j += 16) {
      const __m256i x = sixteen(row + j), y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + j));
      dot = _mm256_add_epi32(dot, _mm256_madd_epi16(x, y));
      square = _mm256_add_epi32(square, _mm256_madd_epi16(x, x));
    }
    if (left > 0) {
      alignas(16) uint8_t end[16] = {};
      std::memcpy(end, row + whole, left);
      const __m256i x = sixteen(end), y = _mm256_load_si256(reinterpret_cast<const __m256i*>(q_end));
      dot = _mm256_add_epi32(dot, _mm256_madd_epi16(x, y));
      square = _mm256_add_epi32(square, _mm256_madd_epi16(x, x));
    }
    dots[i] = total(dot);
    squares[i] = total(square);
  }
}

}  // namespace

void bind_avx2_raw(Kernels& table) noexcept {
  table.raw_dot_f16 = raw_dot_f16_avx2;
  table.raw_l2_f16 = raw_l2_f16_avx2;
  table.raw_dot_i8 = raw_dot_i8_avx2;
}

}  // namespace bebr
#endif
