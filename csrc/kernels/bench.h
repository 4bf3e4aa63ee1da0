// Times of single kernels on made-up codes, for benchmarks/kernels.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace bebr {

// Seconds of each of `repeats` passes of a kernel (its name in Kernels, or "read": a plain sum over rows * planes *
// dims / 8 bytes) over `rows` random codes of `planes` planes of `dims`, for `queries` queries, one thread. complete
// and dot_rows visit all rows in order. Throws Error(InvalidArgument) for an unknown kernel or an impossible size.
std::vector<double> bench_kernel(Isa isa, const std::string& kernel, uint32_t dims, uint32_t planes, size_t rows,
                                 uint32_t queries, size_t repeats);

}  // namespace bebr
