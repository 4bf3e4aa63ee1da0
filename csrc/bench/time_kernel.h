// Times of single kernels on made-up codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace bebr {

// Seconds of each of `repeats` passes of a kernel (its name in Kernels or Baselines, or "read": a plain sum over rows *
// planes * dims / 8 bytes) over `rows` random codes of `planes` planes of `dims`, for `queries` queries, one thread.
// complete, select (which keeps none; select_few: 32 rows at a time) and the dot products visit all rows in order, and
// so do the tails, of the second half of the tiles; where there is no dot_digits, dot_bits16 is timed; expand goes
// block by block, dot_expanded 16 blocks at a time; gemm and project take `rows` vectors from `dims` to `dims`, and a
// descent as many, of which none moves. Throws Error(InvalidArgument) for an unknown kernel or an impossible size.
std::vector<double> time_kernel(Isa isa, const std::string& kernel, uint32_t dims, uint32_t planes, size_t rows,
                                uint32_t queries, size_t repeats);

}  // namespace bebr
