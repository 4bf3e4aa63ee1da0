#include "binarizer/norm_layer.h"

#include <cstddef>

namespace bebr {
namespace {

float dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t k = 0; k < n; ++k) sum += double{a[k]} * double{b[k]};
  return static_cast<float>(sum);
}

// Rows that a row is multiplied with side by side, for each sum waits for its own last addition: a model of
// 784 x 592 took twice as long to open, one sum after the other.
constexpr size_t kTogether = 8;

// The columns [first, first + kTogether) of G from their diagonal down, and what mirrors them. beside: scratch.
void columns_of_gram(const float* weight, size_t first, size_t dims, size_t d, std::vector<double>& beside,
                     std::vector<float>& gram) {
  for (size_t lane = 0; lane < kTogether; ++lane)
    for (size_t k = 0; k < d; ++k) beside[k * kTogether + lane] = double{weight[(first + lane) * d + k]};
  for (size_t i = first; i < dims; ++i) {
    double sums[kTogether] = {};
    for (size_t k = 0; k < d; ++k) {
      const double value = double{weight[i * d + k]};
      for (size_t lane = 0; lane < kTogether; ++lane) sums[lane] += value * beside[k * kTogether + lane];
    }
    for (size_t lane = 0; lane < kTogether; ++lane) {
      const size_t j = first + lane;
      gram[i * dims + j] = gram[j * dims + i] = static_cast<float>(sums[lane]);
    }
  }
}

}  // namespace

std::optional<NormLayer> norm_layer(const CodeSpec& spec, const float* weight, const float* bias, uint32_t output_dim) {
  const size_t dims = spec.dims(), d = output_dim;  // dims is a multiple of 8
  if (dims >= d) return {};
  NormLayer made{std::vector<float>(dims * dims), std::vector<float>(dims), dot(bias, bias, d)};
  std::vector<double> beside(d * kTogether);
  for (size_t j = 0; j < dims; j += kTogether) columns_of_gram(weight, j, dims, d, beside, made.gram);
  for (size_t i = 0; i < dims; ++i) made.twice[i] = 2 * dot(weight + i * d, bias, d);
  return made;
}

}  // namespace bebr
