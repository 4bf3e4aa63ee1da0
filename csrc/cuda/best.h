// The best of what threads side by side have found.
#pragma once

#include "cuda/device.h"

namespace bebr::cuda {

// All of `lanes` threads of a warp, a power of two, get the largest score and its number; of equal scores the least
// number.
__device__ __forceinline__ void take_best(uint32_t lanes, float& score, uint32_t& number) {
  for (uint32_t by = lanes / 2; by > 0; by /= 2) {
    const float other_score = __shfl_xor_sync(kWholeWarp, score, static_cast<int>(by));
    const uint32_t other = __shfl_xor_sync(kWholeWarp, number, static_cast<int>(by));
    const bool better = other_score > score || (other_score == score && other < number);
    score = better ? other_score : score;
    number = better ? other : number;
  }
}

}  // namespace bebr::cuda
