#include "binarizer/descent_grid.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace bebr {

DescentNumbers descent_numbers(const CodeSpec& spec, const float* gram) {
  const size_t dims = spec.dims(), stride = descent_stride(spec.dims());
  DescentNumbers made{std::vector<float>(dims * stride), std::vector<float>(stride), std::vector<float>(stride, 2.0f),
                      std::vector<float>(stride, 0.5f)};
  for (size_t j = 0; j < dims; ++j) {
    const float own = gram[j * dims + j];
    if (!(own > 0) || !std::isfinite(1 / own))
      fail(ErrorCode::InvalidArgument,
           "gram[" + std::to_string(j) + ", " + std::to_string(j) + "] is " + std::to_string(own) + ": want > 0");
    std::copy_n(gram + j * dims, dims, made.gram.begin() + static_cast<ptrdiff_t>(j * stride));
    made.inverse[j] = 1 / own;
    made.step[j] = std::ldexp(4.0f, -static_cast<int>(spec.depth(static_cast<uint32_t>(j))));
    made.per_step[j] = 1 / made.step[j];
  }
  return made;
}

}  // namespace bebr
