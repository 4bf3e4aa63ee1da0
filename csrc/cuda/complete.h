// Final scores of candidates over all planes, and the best k of them. Scores are final_score's (index/complete.h) to
// the bit; of equal ones the smaller id is better, as in TopK.
#pragma once

#include <cstdint>

#include "cuda/codes.h"
#include "cuda/scan.h"

namespace bebr::cuda {

struct CompleteArgs {
  CodeView codes;
  // Where codes are sign planes: of the whole codes, and of each row the planes behind the first, in the host's memory.
  CodeSpec spec;
  DevicePointer<const uint8_t> rest;
  FactorView factors;
  uint32_t count = 0;
  DevicePointer<const int16_t> y16;   // count rows of y16_stride(dims)
  DevicePointer<const float> base;    // of each query
  DevicePointer<const double> scale;  // FineQuery::scale
  DevicePointer<const int32_t> ones;  // FineQuery::ones of all planes
  DevicePointer<const uint32_t> found;
  DevicePointer<Candidate> candidates;  // the scores are replaced
  uint32_t room = 0;
};
// shares: blocks a query.
void complete(const CompleteArgs& args, uint32_t shares);

struct BestArgs {
  uint32_t count = 0, k = 0, room = 0;
  uint32_t size = 0;  // of what is sorted: a power of two, at least k and the most candidates of a query together
  DevicePointer<const uint32_t> found;
  DevicePointer<const Candidate> candidates;
  DevicePointer<const int64_t> ids;  // of each row
  DevicePointer<const float> floor;  // of each query: scores at or below it do not count
  // The best so far and the best then, best first; at first -infinity and -1.
  DevicePointer<float> best_scores;
  DevicePointer<int64_t> best_ids;
  // What a row must score above to matter from now on: the floor, or one step below the k-th score.
  DevicePointer<float> threshold;
  DevicePointer<uint8_t> work;  // count * size * 12 bytes where that does not fit into shared memory; else null
};
inline constexpr uint32_t kMostSharedSort = 4096;  // entries
void best(const BestArgs& args);

}  // namespace bebr::cuda
