// Four planes of a code as digits: what whole codes are made of, and multiplied by.
//
// Layout: bit d of a byte in each of four planes is one digit. Two steps, which swap bits and then pairs of bits
// between registers, leave two digits in a byte, of bits d and d + 4: 16 instructions for 128 digits.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"

namespace bebr {

BEBR_INLINE uint32x4_t put_word_neon(const uint8_t* p, uint32x4_t words, const int lane) {
  uint32_t word;
  std::memcpy(&word, p, sizeof word);
  words[lane] = word;  // clang takes no parameter for the lane of vsetq_lane
  return words;
}

// 4 bytes from each of 4 places that are `stride` bytes apart.
BEBR_INLINE uint8x16_t four_words_neon(const uint8_t* p, size_t stride) {
  uint32x4_t words = put_word_neon(p, vdupq_n_u32(0), 0);
  words = put_word_neon(p + stride, words, 1);
  words = put_word_neon(p + 2 * stride, words, 2);
  return vreinterpretq_u8_u32(put_word_neon(p + 3 * stride, words, 3));
}

// The bits of `from` where those of the mask are set. g++ would copy a mask, or one of both, for most of them.
BEBR_INLINE uint8x16_t insert_bits_neon(uint8x16_t x, uint8x16_t from, uint8x16_t mask) {
  __asm__("bit %0.16b, %1.16b, %2.16b" : "+w"(x) : "w"(from), "w"(mask));
  return x;
}

// Digits of the last n of four planes, largest first, two in a byte: pairs[d] has those of bits d and, above, d + 4.
BEBR_INLINE void pair_digits_neon(const int n, const uint8x16_t* plane, uint8x16_t* pairs) {
  const uint8x16_t zero = vdupq_n_u8(0);
  const uint8x16_t even_bits = vdupq_n_u8(0x55), odd_bits = vdupq_n_u8(0xaa);
  const uint8x16_t low_pairs = vdupq_n_u8(0x33), high_pairs = vdupq_n_u8(0xcc);
  uint8x16_t even[2] = {zero, zero}, odd[2] = {zero, zero};  // of planes 0 and 1, and of planes 2 and 3
#pragma GCC unroll 2
  for (int half = n > 2 ? 0 : 1; half < 2; ++half) {
    const uint8x16_t above = plane[2 * half], below = plane[2 * half + 1];
    if (n == 3 - 2 * half) {  // above is none
      even[half] = vandq_u8(below, even_bits);
      odd[half] = vandq_u8(vshrq_n_u8(below, 1), even_bits);
    } else {
      even[half] = insert_bits_neon(vshlq_n_u8(above, 1), below, even_bits);
      odd[half] = insert_bits_neon(vshrq_n_u8(below, 1), above, odd_bits);
    }
  }
  if (n <= 2) {
    pairs[0] = vandq_u8(even[1], low_pairs);
    pairs[1] = vandq_u8(odd[1], low_pairs);
    pairs[2] = vandq_u8(vshrq_n_u8(even[1], 2), low_pairs);
    pairs[3] = vandq_u8(vshrq_n_u8(odd[1], 2), low_pairs);
    return;
  }
  pairs[0] = insert_bits_neon(vshlq_n_u8(even[0], 2), even[1], low_pairs);
  pairs[1] = insert_bits_neon(vshlq_n_u8(odd[0], 2), odd[1], low_pairs);
  pairs[2] = insert_bits_neon(vshrq_n_u8(even[1], 2), even[0], high_pairs);
  pairs[3] = insert_bits_neon(vshrq_n_u8(odd[1], 2), odd[0], high_pairs);
}

}  // namespace bebr
