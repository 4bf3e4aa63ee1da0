// Squared norms of reconstructions by one product with v: where a code has fewer dims than what it decodes to,
//   ||x^||^2 = ||mu||^2 + v . (G v + 2 A^T mu)  with G = A^T A
// takes fewer terms than x^ itself.
#pragma once

#include <optional>
#include <vector>

#include "code/spec.h"

namespace bebr {

struct NormLayer {
  std::vector<float> gram, twice;  // G [dims, dims] and 2 A^T mu
  float constant = 0;              // ||mu||^2
};

// weight [dims, output_dim]: row j is column j of A; bias [output_dim]: mu. None where x^ itself takes fewer.
std::optional<NormLayer> norm_layer(const CodeSpec& spec, const float* weight, const float* bias, uint32_t output_dim);

}  // namespace bebr
