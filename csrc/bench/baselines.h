// The paper's two kernels, which the engine's are measured beside (symmetric distance calculation, arXiv 2302.08714).
// Not part of the product. Packing of both: bench/paper.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace bebr {

// The same rules as for Kernels: the scalar functions are the specification, the others give the same bits.
struct Baselines {
  // Blocks of 32 documents; per code byte 16 bytes of high nibbles (documents 2j low half, 2j + 1 high half), then 16
  // of low nibbles; table[s * 16 + n]: 8-bit entries of sub-space s (2 per code byte, high nibble first). out[i] =
  // sum_s table[s][nibble s of document i], 32 * blocks results.
  void (*lut_sdc)(const uint8_t* data, size_t blocks, size_t code_bytes, const uint8_t* table, int32_t* out) noexcept;
  // Planes of equal width, row format; out[i] = 4^(planes-1) <q, d_i>, from planes^2 passes of xor and popcount.
  void (*popcount_sdc)(const uint8_t* query, const uint8_t* rows, size_t count, uint32_t width_bytes, uint32_t planes,
                       int32_t* out) noexcept;
};

// Of one bundle. Throws Error(InvalidArgument) if it cannot run here.
const Baselines& baselines(Isa isa);

#if defined(__x86_64__)
void bind_avx2(Baselines& table) noexcept;
void bind_avx512(Baselines& table) noexcept;
#endif

}  // namespace bebr
