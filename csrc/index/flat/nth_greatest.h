// The n-th greatest of some scores, without a branch that depends on one of them: a processor cannot guess how scores
// compare, and std::nth_element compares each two or three times.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace bebr {

// 1 <= n <= scores.size(); none is a NaN.
inline float nth_greatest(std::span<const float> scores, size_t n) {
  constexpr size_t kFew = 64, kBins = 256, kLanes = 8;
  static thread_local std::vector<float> some;
  const auto of = [](size_t rank) {
    const auto at = some.begin() + static_cast<ptrdiff_t>(rank - 1);
    std::nth_element(some.begin(), at, some.end(), std::greater<>());
    return *at;
  };
  float lows[kLanes], highs[kLanes];
  std::fill_n(lows, kLanes, scores[0]);
  std::fill_n(highs, kLanes, scores[0]);
  const auto take = [&](size_t i, size_t count) {
    for (size_t lane = 0; lane < count; ++lane) {
      const float score = scores[i + lane];
      lows[lane] = score < lows[lane] ? score : lows[lane];
      highs[lane] = score > highs[lane] ? score : highs[lane];
    }
  };
  size_t whole = 0;
  for (; whole + kLanes <= scores.size(); whole += kLanes) take(whole, kLanes);
  take(whole, scores.size() - whole);
  const float low = *std::min_element(lows, lows + kLanes), high = *std::max_element(highs, highs + kLanes);
  const float per_bin = (kBins - 1) / (high - low);
  if (scores.size() <= kFew || !(per_bin > 0) || !std::isfinite(per_bin)) {
    some.assign(scores.begin(), scores.end());
    return of(n);
  }
  // A greater score is in no lower bin: each step of this rounds the greater of two numbers to no less.
  static thread_local std::vector<uint8_t> bins;
  if (bins.size() < scores.size()) bins.resize(scores.size());
  if (some.size() < scores.size()) some.resize(scores.size());
  std::array<uint32_t, kBins> counts{};
  for (size_t i = 0; i < scores.size(); ++i)
    bins[i] = static_cast<uint8_t>(static_cast<int32_t>((scores[i] - low) * per_bin));
  for (size_t i = 0; i < scores.size(); ++i) ++counts[bins[i]];
  size_t bin = kBins - 1, above = 0;
  for (; above + counts[bin] < n; --bin) above += counts[bin];
  size_t here = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    some[here] = scores[i];
    here += bins[i] == bin ? 1 : 0;
  }
  some.resize(here);
  return of(n - above);
}

}  // namespace bebr
