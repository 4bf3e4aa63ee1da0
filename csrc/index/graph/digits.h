// Whole codes by digits: four planes of a dim are one of 0 .. 15, a digit, and a query has one entry for it in place of
// four. Digits are not stored: a kernel gathers them from the bytes of a record (kernels.h: DigitOrder, dot_digits), or
// entries of bits are made from those of digits, which gives the same sums.
//
// Units of 8 digits: planes 0 .. 3 of all groups, then planes 4 .. 7 of those that have any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"

namespace bebr {

struct CodeDigits {
  struct Byte {
    uint16_t group;
    uint8_t plane;
  };

  CodeDigits() = default;
  // bytes: of a code, which begins at byte `at` of a record. groups: of 8 dims.
  CodeDigits(std::span<const Byte> bytes, uint32_t at, uint32_t groups);

  size_t entries() const noexcept { return most.size(); }
  // Whether DigitOrder can name the bytes, and dot_digits has less to do than dot_bits16.
  bool by_kernel() const noexcept { return !masks.empty(); }
  DigitOrder order() const noexcept;

  std::vector<uint16_t> groups;  // of each unit
  std::vector<float> weights;    // .. what a digit's lowest plane weighs; 0: the unit stands for none
  std::vector<int16_t> most;     // of each entry: the digit whose bits are all set
  std::vector<uint16_t> entry;   // of each byte: the first of its unit's entries
  std::vector<uint8_t> bits;     // of each bit, up to bits_stride: what it adds to its digit
  std::vector<uint16_t> every;   // all groups, in their order

 private:
  uint32_t bytes_ = 0;  // as DigitOrder has them
  std::vector<uint8_t> from;
  std::vector<uint64_t> masks;
};

}  // namespace bebr
