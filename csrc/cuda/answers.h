// Answers of a search as they stay on a device: in the metric's own unit, where other libraries read them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/memory.h"

namespace bebr::cuda {

// From the engine's scores to a metric's, as the CPU's Binarizer::metric_scores to the bit, and a radius.
struct Unit {
  bool distance = false;  // offset - score / scale, smaller ones better; else the score itself
  float scale = 1;
  const float* offset = nullptr;  // of each query, where `distance`
  bool calibrated = false;        // then multiplied by `factor`, and `summand` added
  float factor = 1, summand = 0;
  bool limited = false;  // nothing beyond the radius is found
  float radius = 0;
};

// k of each query, best first; missing ones are infinitely bad and -1.
struct DeviceAnswers {
  DeviceArray<float> scores;
  DeviceArray<int64_t> ids;
};

struct AnswerArgs {
  Unit unit;
  uint32_t count = 0, k = 0, most = 0;  // most: found of each query; what is behind them is missing
  DevicePointer<const float> found_scores;
  DevicePointer<const int64_t> found_ids;
  DevicePointer<const float> offset;
  DevicePointer<float> scores;
  DevicePointer<int64_t> ids;
};
void answer(const AnswerArgs& args);

}  // namespace bebr::cuda
