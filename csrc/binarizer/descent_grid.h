// What a coordinate descent in the metric G over a code's grid needs (DescentGrid of kernels.h).
#pragma once

#include <vector>

#include "code/spec.h"
#include "kernels/kernels.h"

namespace bebr {

struct DescentNumbers {
  std::vector<float> gram, inverse, step, per_step;
};

// gram [dims, dims]. Rows and lists have descent_stride(dims) entries. Throws Error(InvalidArgument) unless the
// diagonal is positive.
DescentNumbers descent_numbers(const CodeSpec& spec, const float* gram);

}  // namespace bebr
