// x̂ = mu + A v (docs/method.md, "Codes"): decoding, and what a search needs of the decoder.
#pragma once

#include <optional>
#include <vector>

#include "binarizer/network.h"
#include "code/spec.h"
#include "kernels/projection.h"

namespace bebr {

class Decoder {
 public:
  // weight [dims, output_dim]: row j is column j of A; bias [output_dim]: mu.
  Decoder(const CodeSpec& spec, const float* weight, const float* bias, uint32_t output_dim);

  const CodeSpec& spec() const noexcept { return spec_; }
  uint32_t output_dim() const noexcept { return reconstruct_.out(); }

  // planes [n, row_bytes] -> x̂ [n, output_dim].
  void decode(const uint8_t* planes, size_t n, float* x) const;
  // The same of values v [n, dims], which no code need have.
  void decode_values(const float* v, size_t n, float* x) const;

  // planes [n, row_bytes] -> ||x̂||^2 [n]; x̂ never exists as a whole.
  void squared_norms(const uint8_t* planes, size_t n, float* norms) const;

  // q [n, output_dim] -> y = A^T q [n, dims], by integers (Projection), and base = <q, mu> [n].
  void project(const float* q, size_t n, float* y, float* base) const;

 private:
  template <typename Values, typename Take>
  void apply(const Dense& layer, size_t n, const Values& values, const Take& take) const;
  template <typename Take>
  void apply(const Dense& layer, const uint8_t* planes, size_t n, const Take& take) const;

  CodeSpec spec_;
  Dense reconstruct_;   // A, mu
  Projection project_;  // A^T
  std::vector<float> mu_;
  // Where dims < output_dim: ||x̂||^2 = ||mu||^2 + v . (G v + 2 A^T mu) with G = A^T A, fewer products than x̂ itself.
  std::optional<Dense> norm_;
  float mu_norm_ = 0;
};

}  // namespace bebr
