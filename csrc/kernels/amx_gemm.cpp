// gemm in AMX-BF16: inputs and weights rounded to bf16 (to nearest even), products summed in fp32 by tdpbf16ps.
//
// Eight tiles: 2 x 2 tiles of sums (32 rows x 32 outputs), 2 of rows (16 rows x 32 inputs) and 2 of weights (16 pairs
// of inputs x 16 outputs, the VNNI form PackedWeights has already). A step is 4 tile loads and 4 products; a product
// takes 16 cycles and a load 8, so the products set the pace. Rows are converted once per block of 128 rows x 1024
// inputs and padded with zeros; a panel's block (64 KB) is then used by four row tiles out of L2. Between depth blocks
// the sums wait in `out`. Infinities pass; a NaN may come out as a number (callers refuse NaN).
#include <cassert>
#include <cstring>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")

namespace bebr {
namespace {

constexpr size_t kPanel = 32, kTileRows = 32, kStep = 32;  // of one step: outputs, rows, inputs
constexpr size_t kRows = 128, kDepth = 1024;

// Palette 1, every tile 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// 32 x 32 sums over `steps` steps. a: rows of `a_stride` bf16; b: the panel from its first pair of inputs.
void products_amx(const uint16_t* a, size_t a_stride, const uint16_t* b, size_t steps) noexcept {
  const size_t a_bytes = a_stride * 2, b_bytes = kPanel * 4;
  for (size_t i = 0; i < steps; ++i) {
    _tile_loadd(4, a + i * kStep, a_bytes);
    _tile_loadd(6, b + i * kStep * kPanel, b_bytes);
    _tile_loadd(7, b + i * kStep * kPanel + 32, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + 16 * a_stride + i * kStep, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// bf16 of `count` floats, zeros up to `padded` (a multiple of 32).
void convert_amx(const float* x, size_t count, size_t padded, uint16_t* out) noexcept {
  for (size_t k = 0; k < padded; k += 16) {
    const size_t left = k < count ? count - k : 0;
    const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, x + k));
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + k), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }
}

// out = start + sums for the valid rows of a tile, then ReLU.
void finish_amx(const float* sums, size_t rows, const float* start, size_t start_stride, bool relu, float* out,
                size_t out_stride) noexcept {
  const __m512 floor = relu ? _mm512_setzero_ps() : _mm512_set1_ps(-__builtin_inff());
  for (size_t row = 0; row < rows; ++row) {
    for (size_t o = 0; o < kPanel; o += 16) {
      const __m512 sum =
          _mm512_add_ps(_mm512_load_ps(sums + row * kPanel + o), _mm512_loadu_ps(start + row * start_stride + o));
      _mm512_storeu_ps(out + row * out_stride + o, _mm512_max_ps(sum, floor));
    }
  }
}

void gemm_bf16_amx(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
                   size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0 && w.bf16 != nullptr);
  alignas(64) uint16_t block[kRows * kDepth];
  alignas(64) uint16_t tail[kStep * kPanel];  // the last, incomplete step of a panel, padded with zeros
  alignas(64) float sums[kTileRows * kPanel];
  const size_t panels = (w.out + kPanel - 1) / kPanel, pairs = (size_t{w.in} + 1) / 2;
  const TileConfig config;
  _tile_loadconfig(&config);
  for (size_t row0 = 0; row0 < rows; row0 += kRows) {
    const size_t count = rows - row0 < kRows ? rows - row0 : kRows;
    for (size_t k0 = 0; k0 < w.in; k0 += kDepth) {
      const size_t depth = w.in - k0 < kDepth ? w.in - k0 : kDepth, padded = (depth + kStep - 1) / kStep * kStep;
      const bool last = k0 + depth == w.in;
      const size_t whole = depth / kStep, rest_pairs = (depth - whole * kStep + 1) / 2;
      for (size_t row = 0; row < (count + kTileRows - 1) / kTileRows * kTileRows; ++row) {
        if (row < count)
          convert_amx(x + (row0 + row) * x_stride + k0, depth, padded, block + row * padded);
        else
          std::memset(block + row * padded, 0, padded * 2);
      }
      for (size_t p = 0; p < panels; ++p) {
        const uint16_t* panel = w.bf16 + (p * pairs + k0 / 2) * 2 * kPanel;
        if (rest_pairs > 0) {
          std::memset(tail, 0, sizeof(tail));
          std::memcpy(tail, panel + whole * kStep * kPanel, rest_pairs * kPanel * 4);
        }
        for (size_t row = 0; row < count; row += kTileRows) {
          _tile_zero(0);
          _tile_zero(1);
          _tile_zero(2);
          _tile_zero(3);
          products_amx(block + row * padded, padded, panel, whole);
          if (rest_pairs > 0) products_amx(block + row * padded + whole * kStep, padded, tail, 1);
          _tile_stored(0, sums, kPanel * 4);
          _tile_stored(1, sums + 16, kPanel * 4);
          _tile_stored(2, sums + 16 * kPanel, kPanel * 4);
          _tile_stored(3, sums + 16 * kPanel + 16, kPanel * 4);
          float* to = out + (row0 + row) * out_stride + p * kPanel;
          finish_amx(sums, count - row < kTileRows ? count - row : kTileRows, k0 == 0 ? w.bias + p * kPanel : to,
                     k0 == 0 ? 0 : out_stride, relu && last, to, out_stride);
        }
      }
    }
  }
  _tile_release();
}

}  // namespace

void bind_amx_gemm(Kernels& table) noexcept { table.gemm_bf16 = gemm_bf16_amx; }

}  // namespace bebr
#endif
