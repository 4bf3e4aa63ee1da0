// amx.cpp on a tile unit in software, so that its blocking, padding and offsets are checked to the bit on
// machines with AVX-512 but without AMX too. It says nothing of speed, and stands beside the real kernel's tests, not
// in their place: those still print "skipped: amx".
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "base/cpu.h"
#include "check.h"
#include "queries.h"

#if defined(__x86_64__)

namespace bebr::test {
namespace {

// Eight tiles as Intel's manual describes them: configured shapes, zero after a configuration and beyond a loaded
// shape.
struct TileUnit {
  bool configured = false, misused = false;
  uint16_t row_bytes[8] = {};
  uint8_t rows[8] = {};
  uint8_t tiles[8][16][64] = {};

  void configure(const void* config) {
    const uint8_t* bytes = static_cast<const uint8_t*>(config);
    misused = misused || bytes[0] != 1 || bytes[1] != 0;
    std::memcpy(row_bytes, bytes + 16, sizeof(row_bytes));
    std::memcpy(rows, bytes + 48, sizeof(rows));
    std::memset(tiles, 0, sizeof(tiles));
    configured = true;
  }
  void zero(int tile) {
    misused = misused || !configured;
    std::memset(tiles[tile], 0, sizeof(tiles[tile]));
  }
  void load(int tile, const void* base, size_t stride) {
    zero(tile);
    for (size_t r = 0; r < rows[tile]; ++r)
      std::memcpy(tiles[tile][r], static_cast<const uint8_t*>(base) + r * stride, row_bytes[tile]);
  }
  void store(int tile, void* base, size_t stride) {
    misused = misused || !configured;
    for (size_t r = 0; r < rows[tile]; ++r)
      std::memcpy(static_cast<uint8_t*>(base) + r * stride, tiles[tile][r], row_bytes[tile]);
  }
  // c[m][n] += sum over k and i < 4 of a[m][4k + i] * b[k][4n + i]; b signed for tdpbssd, not for tdpbsud.
  void multiply(int c, int a, int b, bool b_signed) {
    misused =
        misused || !configured || rows[c] != rows[a] || row_bytes[c] != row_bytes[b] || row_bytes[a] != 4 * rows[b];
    for (size_t m = 0; m < rows[c]; ++m) {
      for (size_t n = 0; n < row_bytes[c] / 4u; ++n) {
        int32_t sum = 0;
        std::memcpy(&sum, &tiles[c][m][4 * n], 4);
        for (size_t k = 0; k < rows[b]; ++k)
          for (size_t i = 0; i < 4; ++i) {
            const uint8_t byte = tiles[b][k][4 * n + i];
            sum += static_cast<int8_t>(tiles[a][m][4 * k + i]) * (b_signed ? static_cast<int8_t>(byte) : int{byte});
          }
        std::memcpy(&tiles[c][m][4 * n], &sum, 4);
      }
    }
  }
  void release() { configured = false; }
};

TileUnit& unit() {
  static TileUnit tiles;
  return tiles;
}

}  // namespace
}  // namespace bebr::test

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#undef _tile_dpbsud
#define _tile_loadconfig(config) bebr::test::unit().configure(config)
#define _tile_release() bebr::test::unit().release()
#define _tile_zero(tile) bebr::test::unit().zero(tile)
#define _tile_loadd(tile, base, stride) bebr::test::unit().load(tile, base, stride)
#define _tile_stored(tile, base, stride) bebr::test::unit().store(tile, base, stride)
#define _tile_dpbssd(c, a, b) bebr::test::unit().multiply(c, a, b, true)
#define _tile_dpbsud(c, a, b) bebr::test::unit().multiply(c, a, b, false)
#define bind_amx bind_emulated_amx
#pragma GCC push_options  // amx.cpp switches the target for the rest of a file
#include "kernels/amx.cpp"
#pragma GCC pop_options
#undef bind_amx

namespace bebr::test {
namespace {

BEBR_TEST(emulated_amx_equals_scalar) {
  if (detected_isa() < Isa::Avx512) return;
  Kernels tested = kernels(Isa::Scalar);
  bind_emulated_amx(tested);
  Random random(40);
  for (uint32_t count = 1; count <= 70; ++count)
    compare_scans(tested, random,
                  {1 + below(random, 64), count, 1 + below(random, 5), static_cast<int>(below(random, 4))});
  for (const uint32_t dims : {8u, 24u, 64u, 72u, 520u, 2056u, 4088u, 4096u})
    for (const uint32_t count : {16u, 33u, 40u})
      compare_scans(tested, random, {dims / 8, count, 3, static_cast<int>(below(random, 3))});
  for (uint32_t count = 0; count <= 40; ++count)
    compare_products(tested, random, 1 + below(random, 64), count, below(random, 6));
  compare_products(tested, random, 512, 33, 3);
  CHECK(!unit().misused && !unit().configured, "configured before use, released after");
}

}  // namespace
}  // namespace bebr::test

#endif
