// A better code than rounding gives: coordinate descent on (z - v)^T G (z - v) from a given code (docs/method.md, "The
// default recipe"). With a linear decoder A, a metric P, G = (P A)^T P A and z = G^-1 (P A)^T P (x - mu) this equals
//   ||P (x - mu - A v)||^2 + constant.
#pragma once

#include <vector>

#include "binarizer/network.h"
#include "code/spec.h"

namespace bebr {

class Descent {
 public:
  // gram [dims, dims], symmetric. sweeps: over all coordinates, at most. tries: restarts, each of which moves three
  // coordinates by one step and descends again; the best code is kept. Throws Error(InvalidArgument) unless the
  // diagonal is positive.
  Descent(const CodeSpec& spec, const float* gram, uint32_t sweeps, uint32_t tries);

  // Improves planes [rows, row_bytes] towards z, rows z_stride floats apart.
  void improve(const Kernels& kernels, const float* z, size_t rows, size_t z_stride, Buffer (&work)[4],
               uint8_t* planes) const;

 private:
  void try_again(const Kernels& kernels, const DescentGrid& grid, const float* z, size_t rows, size_t z_stride,
                 float* v, float* g, float* trial) const;

  CodeSpec spec_;
  uint32_t sweeps_, tries_;
  Dense product_;
  std::vector<float> gram_, inverse_, step_, per_step_;  // DescentGrid
};

}  // namespace bebr
