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
  DevicePointer<const uint16_t> mask;  // bit i % 16 of mask[i / 16] allows row i; null allows all

  DevicePointer<const ScanItem> items;
  DevicePointer<const uint32_t> visitors;  // queries, by the numbers of items; null: query i is visitor i

  ScanTile tile;                       // one of kScanTiles or, where has_wgmma(), kWideTile
  DevicePointer<const uint32_t> plan;  // plan_words
  uint32_t chunks = 0, steps = 0;
  ScanRoom shared;

  DevicePointer<const int8_t> y8;                     // of each query 32 * steps bytes, 16-byte aligned
  DevicePointer<const float> base, scale, threshold;  // of each query

  // What scores above its query's threshold: how many, and the first `room` of them in no order.
  DevicePointer<uint32_t> found;
  DevicePointer<Candidate> candidates;
  uint32_t room = 0;
};

void scan_codes(const ScanArgs& args, size_t items);
// What it calls for kWideTile.
void scan_codes_wide(const ScanArgs& args, size_t items);

}  // namespace bebr::cuda
