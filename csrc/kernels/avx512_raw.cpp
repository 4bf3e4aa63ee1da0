// Raw rows in AVX-512: four sums of 16 entries (fp16), two of 32 (int8, VNNI); the last entries of a row by masked
// loads. A row is prefetched kAhead rows early.
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace bebr {
namespace {

constexpr size_t kAhead = 4, kLine = 64;

[[gnu::always_inline]] inline void ask_for(const uint8_t* row, size_t bytes) noexcept {
  for (size_t at = 0; at < bytes; at += kLine) _mm_prefetch(row + at, _MM_HINT_T0);
  _mm_prefetch(row + bytes - 1, _MM_HINT_T0);
}

[[gnu::always_inline]] inline void ask_for_first(const uint8_t* data, size_t stride, const uint32_t* rows, size_t count,
                                                 size_t bytes) noexcept {
  for (size_t i = 0; i < kAhead && i < count; ++i) ask_for(data + rows[i] * stride, bytes);
}

// Adds to `sum` a product, or the square of a difference.
[[gnu::always_inline]] inline __m512 add(const bool l2, __m512 q, __m512 x, __m512 sum) noexcept {
  if (!l2) return _mm512_fmadd_ps(q, x, sum);
  const __m512 apart = _mm512_sub_ps(q, x);
  return _mm512_fmadd_ps(apart, apart, sum);
}

[[gnu::always_inline]] inline void score_f16(const bool l2, const float* q, uint32_t dim, const uint8_t* data,
                                             size_t stride, const uint32_t* rows, size_t count, float* out) noexcept {
  ask_for_first(data, stride, rows, count, size_t{dim} * 2);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask_for(data + rows[i + kAhead] * stride, size_t{dim} * 2);
    const uint8_t* row = data + rows[i] * stride;
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t j = 0;
    for (; j + 64 <= dim; j += 64) {
#pragma GCC unroll 4
      for (unsigned v = 0; v < 4; ++v) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * j + 32 * v));
        sums[v] = add(l2, _mm512_loadu_ps(q + j + 16 * v), _mm512_cvtph_ps(half), sums[v]);
      }
    }
    for (; j < dim; j += 16) {
      const __mmask16 here = static_cast<__mmask16>(dim - j >= 16 ? 0xffffu : (1u << (dim - j)) - 1);
      const __m256i half = _mm256_maskz_loadu_epi16(here, row + 2 * j);
      sums[0] = add(l2, _mm512_maskz_loadu_ps(here, q + j), _mm512_cvtph_ps(half), sums[0]);
    }
    out[i] = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
  }
}

void raw_dot_f16_avx512(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                        size_t count, float* out) noexcept {
  score_f16(false, q, dim, data, stride, rows, count, out);
}
void raw_l2_f16_avx512(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                       size_t count, float* out) noexcept {
  score_f16(true, q, dim, data, stride, rows, count, out);
}

void raw_dot_i8_avx512(const int16_t* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                       size_t count, int32_t* dots, int32_t* squares) noexcept {
  ask_for_first(data, stride, rows, count, dim);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask_for(data + rows[i + kAhead] * stride, dim);
    const uint8_t* row = data + rows[i] * stride;
    __m512i dot = _mm512_setzero_si512(), square = _mm512_setzero_si512();
    for (size_t j = 0; j < dim; j += 32) {
      const __mmask32 here = static_cast<__mmask32>(dim - j >= 32 ? 0xffffffffu : (1u << (dim - j)) - 1);
      const __m512i x = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(here, row + j));
      dot = _mm512_dpwssd_epi32(dot, x, _mm512_maskz_loadu_epi16(here, q + j));
      square = _mm512_dpwssd_epi32(square, x, x);
    }
    dots[i] = _mm512_reduce_add_epi32(dot);
    squares[i] = _mm512_reduce_add_epi32(square);
  }
}

}  // namespace

void bind_avx512_raw(Kernels& table) noexcept {
  table.raw_dot_f16 = raw_dot_f16_avx512;
  table.raw_l2_f16 = raw_l2_f16_avx512;
  table.raw_dot_i8 = raw_dot_i8_avx512;
}

}  // namespace bebr
#endif
