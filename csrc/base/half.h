// IEEE binary16 ("fp16") to float and back, in software: exact one way, round to nearest even the other. Same bits as
// the F16C instructions, so a factor means the same on every ISA.
#pragma once

#include <bit>
#include <cstdint>

namespace bebr {

inline float half_to_float(uint16_t half) noexcept {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = half >> 10 & 31u;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 31) {  // infinity, or NaN made quiet
    const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | mantissa << 13);
  }
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude =
      static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: exact, every such value is a normal float
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

inline uint16_t float_to_half(float value) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  const auto with_sign = [sign](uint32_t half) { return static_cast<uint16_t>(sign | half); };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00u | (magnitude >> 13 & 0x3ffu));  // NaN made quiet
  if (magnitude >= 0x47800000u) return with_sign(0x7c00u);                              // 65536 and above
  // `kept` drops `shift` bits of `from`; the half-way point goes to the even neighbour. A carry out of the mantissa
  // moves into the exponent, which is the right answer, up to infinity.
  uint32_t from = magnitude - 0x38000000u, shift = 13;  // exponent bias 127 -> 15
  if (magnitude < 0x38800000u) {                        // below 2^-14: subnormal, unit 2^-24
    const uint32_t exponent = magnitude >> 23;
    if (exponent < 102) return with_sign(0);  // below 2^-25
    from = (magnitude & 0x7fffffu) | 0x800000u;
    shift = 126 - exponent;
  }
  const uint32_t half_way = 1u << (shift - 1), dropped = from & ((1u << shift) - 1);
  uint32_t kept = from >> shift;
  if (dropped > half_way || (dropped == half_way && (kept & 1u) != 0)) ++kept;
  return with_sign(kept);
}

}  // namespace bebr
