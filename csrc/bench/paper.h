// The packing of the paper's table kernel (symmetric distance calculation, arXiv 2302.08714), for the baseline lut_sdc.
// Two or four planes of equal width.
//
// The bits of a dim are adjacent, plane 0 first = most significant: at 2 planes a nibble is 2 dims, at 4 planes 1 dim.
// Documents come in blocks of 32; per code byte 16 bytes of high nibbles (document 2j in the low half of byte j, 2j + 1
// in the high half), then 16 of low nibbles. Sub-space s is nibble s of a code, high nibble of a byte first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "code/spec.h"

namespace bebr {

inline constexpr size_t kPaperBlockRows = 32;

// Bytes of one code. Throws Error(InvalidArgument) unless the planes are 2 or 4 of equal width.
size_t paper_code_bytes(const CodeSpec& spec);

// Packs `count` rows of the row format; the last block is filled up with zero codes.
// blocks: ceil(count / 32) * 32 * paper_code_bytes(spec) bytes.
void paper_pack(const CodeSpec& spec, const uint8_t* rows, size_t count, uint8_t* blocks);

// The query's table, 16 entries for each of 2 * paper_code_bytes(spec) sub-spaces: T = 2 <q, d> + 9 at 2 planes,
// (64 <q, d> + 225) / 2 at 4 planes, <q, d> over the sub-space; an integer 0..18 or 0..225.
void paper_table(const CodeSpec& spec, const uint8_t* query, uint8_t* table);

// 4^(planes - 1) <q, d>, an integer, from the sum of the entries: what popcount_sdc gives for the same pair.
int32_t paper_score(const CodeSpec& spec, int32_t sum);

}  // namespace bebr
