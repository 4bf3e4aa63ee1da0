// A better code than rounding gives: coordinate descent on (z - v)^T G (z - v) from the code at hand (RECALL.md). With
// a linear decoder A, a metric P, G = (P A)^T P A and z = G^-1 (P A)^T P (x - mu) this is ||P (x - mu - A v)||^2, but
// for a constant.
#pragma once

#include <vector>

#include "binarizer/network.h"
#include "code/spec.h"

namespace bebr {

class Descent {
 public:
  // gram [dims, dims], symmetric. sweeps: over all coordinates, at most. Throws Error(InvalidArgument) unless the
  // diagonal is positive.
  Descent(const CodeSpec& spec, const float* gram, uint32_t sweeps);

  // Improves planes [rows, row_bytes] towards z, rows z_stride floats apart.
  void improve(const Kernels& kernels, const float* z, size_t rows, size_t z_stride, Buffer (&work)[3],
               uint8_t* planes) const;

 private:
  CodeSpec spec_;
  uint32_t sweeps_;
  Dense product_;
  std::vector<float> gram_, inverse_, step_, per_step_;  // DescentGrid
};

}  // namespace bebr
