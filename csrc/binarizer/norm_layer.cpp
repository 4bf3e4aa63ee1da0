#include "binarizer/norm_layer.h"

#include <cstddef>

namespace bebr {
namespace {

float dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t k = 0; k < n; ++k) sum += double{a[k]} * double{b[k]};
  return static_cast<float>(sum);
}

}  // namespace

std::optional<NormLayer> norm_layer(const CodeSpec& spec, const float* weight, const float* bias, uint32_t output_dim) {
  const size_t dims = spec.dims(), d = output_dim;
  if (dims >= d) return {};
  NormLayer made{std::vector<float>(dims * dims), std::vector<float>(dims), dot(bias, bias, d)};
  for (size_t i = 0; i < dims; ++i) {
    for (size_t j = 0; j <= i; ++j)
      made.gram[i * dims + j] = made.gram[j * dims + i] = dot(weight + i * d, weight + j * d, d);
    made.twice[i] = 2 * dot(weight + i * d, bias, d);
  }
  return made;
}

}  // namespace bebr
