// A thread a result.
#include "cuda/answers.h"
#include "cuda/device.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kThreads = 128;
constexpr float kLargest = 3.4028234663852886e38f;

__global__ void __launch_bounds__(kThreads) answer_kernel(const AnswerArgs args) {
  const Unit& unit = args.unit;
  const uint64_t at = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const auto q = static_cast<uint32_t>(at / args.k), i = static_cast<uint32_t>(at % args.k);
  if (q >= args.count) return;
  const float worst = unit.distance ? infinity() : -infinity();
  float score = -infinity();
  int64_t id = -1;
  if (i < args.most) {
    score = args.found_scores[static_cast<uint64_t>(q) * args.most + i];
    id = args.found_ids[static_cast<uint64_t>(q) * args.most + i];
  }
  if (unit.distance) score = fabsf(score) <= kLargest ? args.offset[q] - score / unit.scale : worst;
  if (unit.calibrated) {
    const float product = unit.factor * score;
    score = product + unit.summand;
  }
  if (unit.limited && (unit.distance ? score > unit.radius : score < unit.radius)) {
    score = worst;
    id = -1;
  }
  args.scores[at] = score;
  args.ids[at] = id;
}

}  // namespace

void answer(const AnswerArgs& args) {
  const uint64_t results = static_cast<uint64_t>(args.count) * args.k;
  if (results == 0) return;
  launch(answer_kernel, dim3{static_cast<unsigned>((results + kThreads - 1) / kThreads), 1, 1}, kThreads, 0, args);
}

}  // namespace bebr::cuda
