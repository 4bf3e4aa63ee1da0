// Coordinate descent on codes (Kernels::descend), and its restarts (binarizer/descent.h): equal to the CPU's to the bit
// where z and g are.
#pragma once

#include <cstdint>

#include "cuda/memory.h"

namespace bebr::cuda {

// DescentGrid on the device. Rows of gram, z, v and g are `stride` floats apart: dims rounded up to 32. Entries beyond
// dims are as DescentGrid wants them, and 0 in z.
struct DescendArgs {
  uint32_t dims = 0, stride = 0, rows = 0, sweeps = 0, tries = 0;
  DevicePointer<const float> gram, inverse, step, z;
  DevicePointer<float> v, g;
};
void descend(const DescendArgs& args);

}  // namespace bebr::cuda
