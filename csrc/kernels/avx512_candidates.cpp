// AVX-512: new candidates of a graph's walk, put among those it has (kernels.h: put_candidates).
//
// Layout: the list stays in registers, 16 entries each, while all new ones are put. Entries that score at least as much
// as a new one are a prefix, since the list is sorted, so two comparisons, with the entries and with those before them,
// tell which stay and where the new one goes; the others move up by a lane. No branch on a score.
//
// Bounds: whole vectors of scores and nodes, up to the next multiple of 16 beyond `limit`.
//
// Instructions: valignd, vcmpps.
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE PutCandidates put_candidates_vectors(const int vectors, float* scores, uint32_t* nodes, size_t limit,
                                                 const float* new_scores, const uint32_t* new_nodes, size_t count,
                                                 uint32_t* put) {
  const __m512i best = _mm512_castps_si512(_mm512_set1_ps(std::numeric_limits<float>::infinity()));
  __m512i score[8], node[8];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    score[v] = _mm512_loadu_si512(scores + 16 * v);
    node[v] = _mm512_loadu_si512(nodes + 16 * v);
  }
  PutCandidates done{0, limit};
  for (size_t i = 0; i < count; ++i) {
    const __m512 x = _mm512_set1_ps(new_scores[i]);
    const __m512i new_score = _mm512_castps_si512(x), new_node = _mm512_set1_epi32(static_cast<int>(new_nodes[i]));
    size_t place = 0;
#pragma GCC unroll 8
    for (int v = vectors - 1; v >= 0; --v) {
      const __m512i moved = _mm512_alignr_epi32(score[v], v > 0 ? score[v - 1] : best, 15);
      const __m512i node_moved = _mm512_alignr_epi32(node[v], v > 0 ? node[v - 1] : best, 15);
      // All stay where the new score is a NaN.
      const __mmask16 stay = _mm512_cmp_ps_mask(_mm512_castsi512_ps(score[v]), x, _CMP_NLT_UQ);
      const __mmask16 here = _mm512_cmp_ps_mask(_mm512_castsi512_ps(moved), x, _CMP_GE_OQ);
      place += static_cast<size_t>(std::popcount(static_cast<uint32_t>(stay)));
      score[v] = _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(moved, here, new_score), stay, score[v]);
      node[v] = _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(node_moved, here, new_node), stay, node[v]);
    }
    put[done.count] = new_nodes[i];
    done.count += place < limit ? 1 : 0;
    done.first = std::min(done.first, place);
  }
  const __m512i lowest = _mm512_castps_si512(_mm512_set1_ps(-std::numeric_limits<float>::infinity()));
  const auto listed = static_cast<__mmask16>(0xffffu >> (16 * static_cast<size_t>(vectors) - limit));
  score[vectors - 1] = _mm512_mask_mov_epi32(lowest, listed, score[vectors - 1]);
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    _mm512_storeu_si512(scores + 16 * v, score[v]);
    _mm512_storeu_si512(nodes + 16 * v, node[v]);
  }
  return done;
}

PutCandidates put_candidates_avx512(float* scores, uint32_t* nodes, size_t limit, const float* new_scores,
                                    const uint32_t* new_nodes, size_t count, uint32_t* put) noexcept {
  switch ((limit + 15) / 16) {
    case 1:
      return put_candidates_vectors(1, scores, nodes, limit, new_scores, new_nodes, count, put);
    case 2:
      return put_candidates_vectors(2, scores, nodes, limit, new_scores, new_nodes, count, put);
    case 3:
      return put_candidates_vectors(3, scores, nodes, limit, new_scores, new_nodes, count, put);
    case 4:
      return put_candidates_vectors(4, scores, nodes, limit, new_scores, new_nodes, count, put);
    case 5:
      return put_candidates_vectors(5, scores, nodes, limit, new_scores, new_nodes, count, put);
    case 6:
      return put_candidates_vectors(6, scores, nodes, limit, new_scores, new_nodes, count, put);
    case 7:
      return put_candidates_vectors(7, scores, nodes, limit, new_scores, new_nodes, count, put);
    default:
      return put_candidates_vectors(8, scores, nodes, limit, new_scores, new_nodes, count, put);
  }
}

}  // namespace

void bind_avx512_candidates(Kernels& table) noexcept { table.put_candidates = put_candidates_avx512; }

}  // namespace bebr
