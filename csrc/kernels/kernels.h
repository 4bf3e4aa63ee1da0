// The kernel table. scalar.cpp is the specification: every ISA's function gives the same bits on every input allowed
// here. Tables are bound once (dispatch.cpp); an index keeps a `const Kernels&`. Kernels are noexcept, take raw
// pointers, read and write only what their comment names, and need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "code/factor.h"
#include "code/layout.h"
#include "code/spec.h"

namespace bebr {

// Queries of a scan over the sign plane. y8 is the query as small integers with, for every byte group g,
//   sum_{j in group g} |y8[j]| <= 127,                                                                   (bound)
// so that the two table entries of a group sum to at most 254 and one 8-bit addition joins them.
//
// Table of one query: groups are padded to a multiple of 4 ("quads"); a quad takes 128 bytes: 64 bytes with the
// 16-entry tables of the low nibbles of its 4 groups, then 64 bytes for the high nibbles. Entry n of a nibble's table
// is
//   sum_{i<4} (bit i of n ? +y8 : -y8) + sum_{i<4} |y8|   >= 0;
// padding entries are 0. So sum over groups of the looked-up entries - bias = sum_j y8[j] r[j], with bias = sum_j
// |y8[j]|. scan_table reads neither y8 nor where entries come from: any bytes whose two sum to at most 254 will do.
//
// leading: where it is not 0, a multiple of 4, and all entries from this byte group on are 0: a kernel need not read
// them.
struct ScanQueries {
  uint32_t count = 0;
  uint32_t groups = 0;
  const uint8_t* tables = nullptr;  // count * table_bytes(groups)
  const int8_t* y8 = nullptr;       // count rows of y8_stride(groups) bytes, zero beyond 8 * groups
  const int32_t* bias = nullptr;    // count
  uint32_t leading = 0;
};
inline constexpr size_t table_bytes(uint32_t groups) { return size_t{(groups + 3) / 4} * 128; }
inline constexpr size_t y8_stride(uint32_t groups) { return size_t{(groups + 7) / 8} * 64; }

// Bytes of a block of 16 rows that is expanded (Kernels::expand).
inline constexpr size_t expanded_bytes(uint32_t groups) { return kBlockRows * y8_stride(groups); }

// y16: the query for final scores, int16 with sum_j |y16[j]| * (2^planes - 1) < 2^31, padded with zeros to y16_stride.
inline constexpr size_t y16_stride(uint32_t dims) { return (size_t{dims} + 63) / 64 * 64; }

// Entries of a query that dot_bits reads.
inline constexpr size_t bits_stride(uint32_t bytes) { return (size_t{bytes} + 7) / 8 * 64; }

// What rounding made: the sum of the entries, and the squares of what it took away.
struct Rounding {
  int32_t total;
  float lost;
};

// The entries of dot_bits16, n of them, lie before their own halves: first all low ones, then all high ones, as int8
// with y[b] = low[b] + 256 * high[b]. So no entry is larger than kMostEntry16 in size.
inline constexpr int32_t kMostEntry16 = 32639;
inline constexpr size_t entries16_bytes(size_t n) { return 2 * n * sizeof(int16_t); }
inline void split_entries16(int16_t* y, size_t n) noexcept {
  auto *low = reinterpret_cast<int8_t*>(y + n), *high = low + n;
  for (size_t b = 0; b < n; ++b) {
    low[b] = static_cast<int8_t>(y[b]);
    high[b] = static_cast<int8_t>((y[b] + 128) >> 8);
  }
}

// What put_candidates did: how many found a place, and the first of these places, or `limit`.
struct PutCandidates {
  size_t count, first;
};
inline constexpr size_t kMostPut = 128;

// The digits of a row: four planes of a dim are one of 0 .. 15, and 8 dims a unit, whose four bytes may lie anywhere
// among the first `bytes` of the row. 16 units make a vector of 128 entries, and 64 bytes are gathered for it: bytes
// 8 k + 4 .. 8 k + 7 are the planes of unit k, largest first, and bytes 8 k .. 8 k + 3 those of unit 8 + k, for k < 8.
struct DigitOrder {
  static constexpr uint32_t kSources = 4;  // 64 bytes of a row each
  uint32_t bytes = 0;                      // 1 .. 64 * kSources
  uint32_t vectors = 0;
  const uint8_t* from = nullptr;    // 64 a vector: which byte of the row
  const uint64_t* masks = nullptr;  // kSources a vector: the bytes that come from this source; in none: zero

  size_t entries() const noexcept { return 128 * size_t{vectors}; }
};

// A weight matrix [out, in] packed for gemm: panels of 32 outputs, each panel `in` rows of 32 floats (output o of panel
// p at
// [(p * in + i) * 32 + o % 32]), zero-padded outputs. bias has round_up(out, 32) entries. bf16: the same panels, but
// pairs of inputs interleaved (VNNI form): [(p * ceil(in / 2) + i / 2) * 64 + (o % 32) * 2 + i % 2], zero-padded odd
// input.
struct PackedWeights {
  uint32_t in = 0, out = 0;
  const float* f32 = nullptr;
  const uint16_t* bf16 = nullptr;  // null until bf16 weights were packed
  const float* bias = nullptr;
};

// A matrix [out, in] of integers for project: panels of 32 outputs, each ceil(in / 2) rows of 32 pairs of inputs (those
// of output o: pairs[((o / 32) * ceil(in / 2) + i / 2) * 64 + (o % 32) * 2 + i % 2]), zeros where there is none. scale
// has round_up(out, 32) entries.
struct PackedProjection {
  uint32_t in = 0, out = 0;
  const int16_t* pairs = nullptr;
  const float* scale = nullptr;
};

// The grid and the metric of a coordinate descent. stride = round_up(dims, 16); entries beyond dims are zero in gram
// and inverse and 2 in step (and v there must be 1), so that they never move.
struct DescentGrid {
  uint32_t dims = 0;
  size_t stride = 0;
  const float* gram = nullptr;     // dims rows of stride: symmetric, positive diagonal
  const float* inverse = nullptr;  // 1 / gram[j, j]
  const float* step = nullptr;  // between neighbouring values of dim j, 2^(2 - depth): v_j = (i + 1/2) step, i integer
  const float* per_step = nullptr;  // 1 / step; i is in [-2 per_step, 2 per_step - 1]
};
inline constexpr size_t descent_stride(uint32_t dims) { return (size_t{dims} + 15) / 16 * 16; }

// Planes first .. last - 1 of a code, and the score of a code whose bits there are all set:
// ones = sum_{first <= t < last} 2^(planes-1-t) sum_{j < widths[t]} y16[j].
struct PlaneRange {
  uint32_t first = 0, last = 0;
  int32_t ones = 0;
};

struct Kernels {
  Isa isa = Isa::Scalar;

  // sums[q * stride + i] = sum_j y8_q[j] * r_i[j] for the 16 * blocks vectors of `data` (block layout of
  // code/layout.h), for queries.count in 1..8 by table lookup. stride >= 16 * blocks.
  void (*scan_table)(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept;

  // The same for any number of queries: the fastest way of this ISA for many. Pass up to batch_queries at a time: 8
  // where it looks up tables (more would push the sums out of L1), more where a block is expanded once for all queries.
  void (*scan_batch)(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept;
  uint32_t batch_queries = 8;
  bool batch_tables = true;  // scan_batch reads the tables, else y8 alone

  // Keeps the rows whose score is > threshold. score = (base + scale * sums[i]) * f[i] (Mul), base + scale * sums[i] -
  // f[i] (Sub), base + scale * sums[i] (None), each operation rounded to float on its own (no fused multiply-add); f[i]
  // = code.value(factors + i * code.bytes). mask: bit i % 16 of mask[i / 16] allows row i; null allows all. Kept rows
  // are written in order as first_row + i, with their scores; room for `rows` of each (rounded up to 16). Returns how
  // many.
  size_t (*select)(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                   const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                   uint32_t* kept_rows, float* kept_scores) noexcept;

  // out[i] = sum_{first <= t < last} 2^(planes-1-t) sum_{j < widths[t]} y16[j] r[t, j] of row rows[i]: the exact score
  // of survivors, over all planes or some.
  void (*complete)(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                   size_t count, int32_t* out) noexcept;

  // Whole codes for many queries at once. expand: the rows of blocks [first, first + blocks) as bytes, dim j of row i
  //   u_i[j] = sum over the planes t that cover j of 2^(planes-1-t) bit[t, j],
  // for the dims of the first `groups` byte groups: all of the code, or a multiple of 8,
  // 16 rows side by side by 4 dims: at out + expanded_bytes(groups) * block + j / 4 * 64 + i * 4 + j % 4, zero beyond
  // these dims and in rows that the view does not have. dot_expanded: sums[q * stride + i] = sum_j y8_q[j] u_i[j] over
  // what expand wrote, for `count` rows of y8_stride(groups) bytes, any int8, zero beyond 8 * groups.
  void (*expand)(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept;
  void (*dot_expanded)(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                       int32_t* sums, size_t stride) noexcept;
  // dot_expanded is faster for queries whose entries times any byte are no larger than this; 0: it makes no difference.
  int32_t small_product = 0;
  uint32_t expand_queries = 0;      // expanding a row pays from this many queries on; 0: never
  uint32_t expand_bytes = 140'000;  // in an IVF, of fewer, too, up to so many bytes of codes a query
  // What dot_expanded leaves out of few rows: the dims from 64 * tile on, `bytes` of them, up to a whole tile.
  // expand_tail: u_i[64 * tile + j] of row rows[i] at out + (rows[i] - first) * bytes + j, zero beyond the code.
  // dot_tail: out[i] = sum_j y8[j] tails[(rows[i] - first) * bytes + j], any int8, `bytes` a multiple of 64.
  void (*expand_tail)(const ScanView& view, uint32_t tile, const uint32_t* rows, size_t count, uint32_t first,
                      uint8_t* out) noexcept;
  void (*dot_tail)(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                   uint32_t first, int32_t* out) noexcept;
  uint32_t tail_tiles = 0;  // a tail takes as long as this many products of 64 bytes take dot_expanded; 0: too long
  uint32_t completed_tiles = 400;  // and a row completed, which may have to come from memory
  uint32_t lead_rows = 1 << 13;    // of a scan that reads leading dims alone: the first rows need all
  uint32_t lead_lists = 0;         // leading dims pay in an IVF where a query looks at so many lists on average

  // A graph's record has its own order of bits (index/graph/record.h), and a query one entry a bit, plane weights
  // included:
  // out[i] = sum_{b < 8 * bytes} (bit b of row i ? +y[b] : -y[b]), row i at data + rows[i] * stride, its bit b in byte
  // b / 8, bit b % 8. y is padded with zeros to bits_stride(bytes) entries; total = sum of y. dot_bits8: bytes <= 64.
  // dot_bits16: weights[b] y[b] in place of y[b], weights of 1 .. 8 padded as y is, sum_b weights[b] |y[b]| < 2^31;
  // bytes <= 4096, and y went through split_entries16.
  void (*dot_bits8)(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                    const uint32_t* rows, size_t count, int32_t* out) noexcept;
  void (*dot_bits16)(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                     int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept;

  // The same by digits: out[i] = 2 * sum_n y[n] digit_n(row i) - total, over order.entries() digits, y split likewise.
  // Equal to dot_bits16 where all bits of a digit have its entry, and weights of 8, 4, 2, 1. Null where the ISA has
  // none, and faster where it has.
  void (*dot_digits)(const uint8_t* data, size_t stride, const DigitOrder& order, const int16_t* y, int32_t total,
                     const uint32_t* rows, size_t count, int32_t* out) noexcept;

  // New candidates among those of a walk (index/graph/candidates.h), best first, at most `limit` of them: 1 ..
  // kMostPut. Each of `count` in turn is put behind all that score at least as much, the others move up by one, and
  // what is beyond `limit` falls out; a NaN is put nowhere. Scores behind the last one are -inf, before and after, up
  // to a multiple of 16 entries. put: the nodes that found a place, in their order. Null where the ISA has none.
  PutCandidates (*put_candidates)(float* scores, uint32_t* nodes, size_t limit, const float* new_scores,
                                  const uint32_t* new_nodes, size_t count, uint32_t* put) noexcept;

  // What makes such a query. Entries: x[i] * (1 / step), below 2^22 in size, to the nearest integer, ties to even. n is
  // a multiple of 16 (largest: of 8), and floats are added up in 16 sums, x[i] to number i % 16, then these by halves.
  //   weigh: out[8 * i + b] = weights[i] * y[8 * groups[i] + b] for `bytes` bytes.
  //   round16, with split_entries16; returns the sum of the entries. round8: as bytes.
  //   squares, largest: the sum of x[i]^2; the largest |x[i]|.
  //   fill_tables: of scan_table, for bytes whose bits have the entries v = 8 of x each: entry n of a nibble is
  //   (sum_{i<4} (bit i of n ? +v : -v) + |v| + 128) >> 8. Returns the sum of |v|.
  void (*weigh)(const float* y, const uint16_t* groups, const float* weights, size_t bytes, float* out) noexcept;
  int32_t (*round16)(const float* x, size_t n, float step, int16_t* to) noexcept;
  Rounding (*round8)(const float* x, size_t n, float step, int8_t* to) noexcept;
  float (*squares)(const float* x, size_t n) noexcept;
  float (*largest)(const float* x, size_t n) noexcept;
  int32_t (*fill_tables)(const float* x, uint32_t bytes, float step, uint8_t* tables) noexcept;

  // to[i] = from[at[i]] for `bytes` bytes; every at[i] < bytes. A record's code in the order of the row format.
  void (*permute)(const uint8_t* from, const uint16_t* at, size_t bytes, uint8_t* to) noexcept;

  // out[i] = <a, row i>, int8 entries from -127 to 127, `dims` of them: a multiple of 64, at most 2^17; row i at data +
  // rows[i] * dims.
  void (*dot_int8)(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                   int32_t* out) noexcept;

  // Vectors kept beside the codes, row i at data + rows[i] * stride (index/raw/raw.h): `dim` entries of fp16, or of
  // int8 within -127 to 127. Later rows are prefetched. raw_dot_f16: out[i] = <q, row i>; raw_l2_f16: out[i] = ||q -
  // row i||^2. Float: compared with float64 to twice scalar's error, not to the bit.
  void (*raw_dot_f16)(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                      size_t count, float* out) noexcept;
  void (*raw_l2_f16)(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                     size_t count, float* out) noexcept;
  // dots[i] = <q, row i>, squares[i] = ||row i||^2. sum_j |q[j]| * 127 < 2^31; dim <= 2^16.
  void (*raw_dot_i8)(const int16_t* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                     size_t count, int32_t* dots, int32_t* squares) noexcept;

  // out[i, o] = bias[o] + sum_k x[i, k] w[o, k], then max(0, .) if relu. Rows of x and out are x_stride, out_stride
  // floats apart; out has room for round_up(w.out, 32) columns. From the bias on, products join their sum in the order
  // of k, fused (std::fma), so all ISAs agree to the bit: codes and trained models are the same on each.
  void (*gemm)(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
               size_t out_stride) noexcept;
  // out[i, o] = float(sum_k x[i, k] w[o, k]) scale[o] by[i], each of the three rounded on its own. Rows of x are
  // x_stride
  // >= 2 ceil(w.in / 2) entries apart, and zero at an entry w.in that makes a pair whole; out has room for
  // round_up(w.out, 32) columns. Rows of x and of w are at most 2^15 long (the root of their entries' squares), so that
  // a sum of any of the products is at most 2^30 in size. A pair of entries of -2^15 is none of these.
  void (*project)(const int16_t* x, size_t rows, size_t x_stride, const float* by, const PackedProjection& w,
                  float* out, size_t out_stride) noexcept;
  // The position of the greatest of n > 0 values; the first of equal ones. Where one is a NaN: any position below n.
  size_t (*first_greatest)(const float* values, size_t n) noexcept;
  // Lowers (z - v)^T G (z - v) over the grid for `count` vectors, one coordinate after the other: v_j becomes the
  // grid's value nearest to v_j + g_j / G_jj, where g = G (z - v) is kept up to date. Ends when a sweep over all
  // coordinates changes nothing, or after `sweeps`. Rows of v are grid.stride floats apart, of g g_stride >=
  // grid.stride. Every product and every sum is rounded on its own, so all ISAs agree to the bit.
  void (*descend)(const DescentGrid& grid, size_t count, float* v, float* g, size_t g_stride, uint32_t sweeps) noexcept;
  // g[k] -= by * row[k] for `stride` entries, a multiple of 16: what one move of a vector changes.
  void (*descent_follow)(const float* row, float by, size_t stride, float* g) noexcept;
  // (z - v)^T g: entry j is added to sum j % 16, then the 16 sums in their order. No entry beyond dims is read.
  float (*descent_energy)(const float* z, const float* v, const float* g, size_t dims) noexcept;

  // bf16 inputs and weights, fp32 sums; compared with float64 to twice gemm's error. Null where the ISA has none (only
  // amx).
  void (*gemm_bf16)(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
                    size_t out_stride) noexcept;
};

// The table of one bundle; chosen_isa()'s when none is named. Throws Error(InvalidArgument) if it cannot run here.
const Kernels& kernels();
const Kernels& kernels(Isa isa);

// Each ISA file overwrites what it improves; called in order from scalar up.
void bind_scalar(Kernels& table) noexcept;
void bind_scalar_gemm(Kernels& table) noexcept;
void bind_scalar_project(Kernels& table) noexcept;
void bind_scalar_descend(Kernels& table) noexcept;
void bind_scalar_raw(Kernels& table) noexcept;
void bind_query(Kernels& table) noexcept;
void bind_scalar_expand(Kernels& table) noexcept;
#if defined(__x86_64__)
void bind_avx2(Kernels& table) noexcept;
void bind_avx2_select(Kernels& table) noexcept;
void bind_avx2_gemm(Kernels& table) noexcept;
void bind_avx2_project(Kernels& table) noexcept;
void bind_avx2_graph(Kernels& table) noexcept;
void bind_avx2_descend(Kernels& table) noexcept;
void bind_avx2_raw(Kernels& table) noexcept;
void bind_avx2_expand(Kernels& table) noexcept;
void bind_avxvnni_graph(Kernels& table) noexcept;
void bind_avxvnni_expand(Kernels& table) noexcept;
void bind_avx512(Kernels& table) noexcept;
void bind_avx512_score(Kernels& table) noexcept;
void bind_avx512_gemm(Kernels& table) noexcept;
void bind_avx512_project(Kernels& table) noexcept;
void bind_avx512_graph(Kernels& table) noexcept;
void bind_avx512_query(Kernels& table) noexcept;
void bind_avx512_candidates(Kernels& table) noexcept;
void bind_avx512_digits(Kernels& table) noexcept;  // where has_gfni()
void bind_avx512_descend(Kernels& table) noexcept;
void bind_avx512_raw(Kernels& table) noexcept;
void bind_avx512_expand(Kernels& table) noexcept;
void bind_amx(Kernels& table) noexcept;
void bind_amx_gemm(Kernels& table) noexcept;
#elif defined(__aarch64__)
void bind_neon(Kernels& table) noexcept;
void bind_neon_select(Kernels& table) noexcept;
void bind_neon_complete(Kernels& table) noexcept;
void bind_neon_gemm(Kernels& table) noexcept;
void bind_neon_project(Kernels& table) noexcept;
void bind_neon_descend(Kernels& table) noexcept;
void bind_neon_digits(Kernels& table) noexcept;
void bind_neon_expand(Kernels& table) noexcept;
void bind_neon_graph(Kernels& table) noexcept;
void bind_neon_raw(Kernels& table) noexcept;
void bind_neon_dot(Kernels& table) noexcept;
void bind_neon_dot_complete(Kernels& table) noexcept;
void bind_neon_dot_digits(Kernels& table) noexcept;
void bind_neon_dot_expand(Kernels& table) noexcept;
void bind_neon_dot_tail(Kernels& table) noexcept;
void bind_neon_i8mm(Kernels& table) noexcept;
#endif

}  // namespace bebr
