// Float vectors to planes, by exported weights (docs/method.md; BatchNorm folded). recurrent: the paper's recurrent
// binarization, arXiv 2302.08714.
//
//   linear     z = W x + b;  r_0 = sgn(z),  r_t = sgn(z - sum_{s<t} 2^-s r_s)             successive approximation
//   recurrent  v = r_0 = sgn(W(x));  f = R_t(v) / ||R_t(v)||,  r_t+1 = sgn(W_t(x - f)),  v += 2^-(t+1) r_t+1
//
// Plane t has widths[t] dims; sgn(0) = +1.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "binarizer/descent.h"
#include "binarizer/network.h"
#include "code/spec.h"

namespace bebr {

enum class Architecture { Linear, Recurrent };

class Encoder {
 public:
  // networks: linear [encoder]; recurrent [encoder, reconstruct0, residual0, reconstruct1, residual1, ...]. normalize:
  // inputs are scaled to unit length first. gram [dims, dims], for a linear encoder: codes may be optimized by Descent
  // with at most `sweeps`; null: they may not. Throws Error(InvalidArgument) when shapes do not fit the widths.
  Encoder(Architecture architecture, const CodeSpec& spec, const std::vector<std::vector<Layer>>& networks,
          bool normalize, const float* gram = nullptr, uint32_t sweeps = 0, uint32_t tries = 0);

  uint32_t input_dim() const noexcept { return networks_.front().in(); }
  const CodeSpec& spec() const noexcept { return spec_; }

  // x [n, input_dim] -> planes [n, row_bytes] in row format, on the threads of base/threads.h. bf16: matrix products in
  // bfloat16; throws Error(InvalidArgument) where the instruction set in force has none. optimize: by Descent; without
  // a gram it changes nothing.
  void encode(const float* x, size_t n, bool bf16, bool optimize, uint8_t* planes) const;

 private:
  struct Scratch;
  void encode_chunk(const float* x, size_t rows, bool bf16, bool optimize, Scratch& scratch, uint8_t* planes) const;

  Architecture architecture_;
  CodeSpec spec_;
  bool normalize_;
  // Changes once only, when the first bf16 call adds the second form of the weights.
  mutable std::vector<Network> networks_;
  mutable std::once_flag bf16_packed_;
  std::optional<Descent> descent_;
};

}  // namespace bebr
