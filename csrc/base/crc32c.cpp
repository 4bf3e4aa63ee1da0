#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
// AVX2 comes with SSE4.2.
#define BEBR_CRC_TARGET __attribute__((target("sse4.2")))
#elif defined(__aarch64__)
#include <arm_acle.h>
// Dot products are of version 8.2, and these instructions part of 8.1.
#if defined(__clang__)
#define BEBR_CRC_TARGET __attribute__((target("crc")))
#else
#define BEBR_CRC_TARGET __attribute__((target("+crc")))
#endif
#endif

namespace bebr {
namespace {

// Slicing by 8: eight table lookups retire eight bytes.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ 0x82F63B78u : c >> 1;
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; ++i)
    for (size_t s = 1; s < 8; ++s) t[s][i] = (t[s - 1][i] >> 8) ^ t[0][t[s - 1][i] & 255];
  return t;
}();

uint64_t load(const uint8_t* at) {
  uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// From here on, `c` is the state between bytes: the complement of what callers see.

uint32_t by_tables(uint32_t c, const uint8_t* p, size_t n) {
  for (; n >= 8; n -= 8, p += 8) {
    const uint64_t w = load(p) ^ c;
    c = kTables[7][w & 255] ^ kTables[6][w >> 8 & 255] ^ kTables[5][w >> 16 & 255] ^ kTables[4][w >> 24 & 255] ^
        kTables[3][w >> 32 & 255] ^ kTables[2][w >> 40 & 255] ^ kTables[1][w >> 48 & 255] ^ kTables[0][w >> 56];
  }
  for (; n > 0; --n, ++p) c = (c >> 8) ^ kTables[0][(c ^ *p) & 255];
  return c;
}

#if defined(BEBR_CRC_TARGET)

// Bytes of each of three streams that go side by side, for an instruction waits for the one before it. A power of two.
constexpr size_t kLane = 4096;

// What kLane zeros make of a state, by its bytes. The map is linear: it is the XOR of what becomes of each bit.
constexpr auto kShift = [] {
  using Map = std::array<uint32_t, 32>;
  const auto apply = [](const Map& map, uint32_t c) {
    uint32_t sum = 0;
    for (size_t bit = 0; bit < 32; ++bit) sum ^= (c >> bit & 1) != 0 ? map[bit] : 0;
    return sum;
  };
  Map map{};
  for (size_t bit = 0; bit < 32; ++bit) {
    const uint32_t c = uint32_t{1} << bit;
    map[bit] = (c >> 8) ^ kTables[0][c & 255];
  }
  for (size_t zeros = 1; zeros < kLane; zeros *= 2) {
    Map twice{};
    for (size_t bit = 0; bit < 32; ++bit) twice[bit] = apply(map, map[bit]);
    map = twice;
  }
  std::array<std::array<uint32_t, 256>, 4> t{};
  for (size_t byte = 0; byte < 4; ++byte)
    for (uint32_t value = 0; value < 256; ++value) t[byte][value] = apply(map, value << (8 * byte));
  return t;
}();

uint32_t shifted(uint32_t c) {
  return kShift[0][c & 255] ^ kShift[1][c >> 8 & 255] ^ kShift[2][c >> 16 & 255] ^ kShift[3][c >> 24];
}

BEBR_CRC_TARGET uint32_t next(uint32_t c, uint64_t word) {
#if defined(__x86_64__)
  return static_cast<uint32_t>(_mm_crc32_u64(c, word));
#else
  return __crc32cd(c, word);
#endif
}

BEBR_CRC_TARGET uint32_t by_instructions(uint32_t c, const uint8_t* p, size_t n) {
  for (; n >= 3 * kLane; n -= 3 * kLane, p += 3 * kLane) {
    uint32_t second = 0, third = 0;
    for (const uint8_t* const end = p + kLane; p != end; p += 8) {
      c = next(c, load(p));
      second = next(second, load(p + kLane));
      third = next(third, load(p + 2 * kLane));
    }
    p -= kLane;
    c = shifted(shifted(c) ^ second) ^ third;
  }
  for (; n >= 8; n -= 8, p += 8) c = next(c, load(p));
  return by_tables(c, p, n);
}

bool has_instructions(Isa isa) {
#if defined(__x86_64__)
  return isa >= Isa::Avx2;
#else
  return isa >= Isa::NeonDot;
#endif
}

#endif

}  // namespace

uint32_t crc32c_by([[maybe_unused]] Isa isa, std::span<const uint8_t> bytes, uint32_t seed) {
#if defined(BEBR_CRC_TARGET)
  if (has_instructions(isa)) return ~by_instructions(~seed, bytes.data(), bytes.size());
#endif
  return ~by_tables(~seed, bytes.data(), bytes.size());
}

}  // namespace bebr
