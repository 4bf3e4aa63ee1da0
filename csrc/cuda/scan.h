// Whole codes against many queries. Scores are those of Kernels::expand, dot_expanded and select, to the bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/codes.h"
#include "cuda/plan.h"

namespace bebr::cuda {

struct Candidate {
  float score;
  uint32_t row;
};

struct ScanArgs {
  CodeView codes;
  FactorView factors;
  DevicePointer<const uint16_t> mask;   // bit i % 16 of mask[i / 16] allows row i; null allows all
  uint32_t first_row = 0, end_row = 0;  // those scanned; the first is a multiple of kTileRows

  DevicePointer<const uint32_t> plan;  // plan_words
  uint32_t chunks = 0, steps = 0;
  ScanRoom shared;

  DevicePointer<const int8_t> y8;  // count rows of 32 * steps bytes, 16-byte aligned
  uint32_t count = 0;
  DevicePointer<const float> base, scale, threshold;  // of each query

  // What scores above its query's threshold: how many, and the first `room` of them in no order.
  DevicePointer<uint32_t> found;
  DevicePointer<Candidate> candidates;
  uint32_t room = 0;
};

// shares: into how many pieces the rows are cut, for blocks side by side.
void scan_codes(const ScanArgs& args, uint32_t shares);

}  // namespace bebr::cuda
