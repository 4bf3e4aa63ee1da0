#include "binarizer/encoder.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "code/planes.h"

namespace bebr {

// A thread keeps its scratch memory: newly allocated megabytes a chunk would cost a page fault every 4 KB.
struct Encoder::Scratch {
  Buffer work[2], input, v, residual, descent[4];
};

namespace {

// A chunk's activations should stay in L2 through all layers, and be whole tiles of every gemm.
constexpr size_t kChunk = 96, kSmallChunk = 24;

// 1 / length, and 0 for a row of zeros.
float inverse_length(const float* x, size_t n) {
  const double total = squared_length(x, n);
  return total > 0 ? static_cast<float>(1 / std::sqrt(total)) : 0.0f;
}

// x scaled to unit length; a row of zeros stays so.
void scale_to_unit(const float* x, size_t n, float* unit) {
  const double total = squared_length(x, n);
  if (squares_fit(total)) {
    const float scale = static_cast<float>(1 / std::sqrt(total));
    for (size_t k = 0; k < n; ++k) unit[k] = x[k] * scale;
    return;
  }
  double squares = 0;  // a double holds the square of any float
  for (size_t k = 0; k < n; ++k) squares += double{x[k]} * double{x[k]};
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (size_t k = 0; k < n; ++k) unit[k] = static_cast<float>(x[k] * scale);
}

void expect(uint32_t got, uint32_t want, const std::string& what) {
  if (got != want)
    fail(ErrorCode::InvalidArgument, what + " is " + std::to_string(got) + ": want " + std::to_string(want));
}

}  // namespace

Encoder::Encoder(Architecture architecture, const CodeSpec& spec, const std::vector<std::vector<Layer>>& networks,
                 bool normalize, const float* gram, uint32_t sweeps, uint32_t tries)
    : architecture_(architecture), spec_(spec), normalize_(normalize) {
  const bool linear = architecture == Architecture::Linear;
  expect(static_cast<uint32_t>(networks.size()), linear ? 1 : 2 * spec.planes - 1, "the number of networks");
  if (linear) expect(static_cast<uint32_t>(networks[0].size()), 1, "the number of layers of a linear encoder");
  if (gram != nullptr && !linear) fail(ErrorCode::InvalidArgument, "only a linear encoder takes a gram matrix");
  networks_.emplace_back(networks[0], "encoder");
  expect(networks_[0].out(), spec.dims(), "the output dimension of encoder");
  for (uint32_t t = 0; !linear && t + 1 < spec.planes; ++t) {
    const std::string reconstruct = "reconstruct." + std::to_string(t), residual = "residual." + std::to_string(t);
    networks_.emplace_back(networks[2 * t + 1], reconstruct.c_str());
    networks_.emplace_back(networks[2 * t + 2], residual.c_str());
    const Network &r = networks_[2 * t + 1], &w = networks_[2 * t + 2];
    expect(r.in(), spec.dims(), "the input dimension of " + reconstruct);
    expect(r.out(), input_dim(), "the output dimension of " + reconstruct);
    expect(w.in(), input_dim(), "the input dimension of " + residual);
    expect(w.out(), spec.widths[t + 1], "the output dimension of " + residual);
  }
  if (gram != nullptr) descent_.emplace(spec, gram, sweeps, tries);
}

void Encoder::encode(const float* x, size_t n, bool bf16, bool optimize, uint8_t* planes) const {
  if (bf16) {
    if (kernels().gemm_bf16 == nullptr)
      fail(ErrorCode::InvalidArgument,
           std::string("bf16 encoding needs instruction set amx; this process uses ") + isa_name(kernels().isa));
    std::call_once(bf16_packed_, [this] {
      for (Network& network : networks_) network.pack_bf16();
    });
  }
  parallel_for(n, n >= 4 * kChunk * num_threads() ? kChunk : kSmallChunk, [&](size_t begin, size_t end) {
    static thread_local Scratch scratch;
    for (size_t row = begin; row < end; row += kChunk) {
      check_interrupt();
      encode_chunk(x + row * input_dim(), std::min(kChunk, end - row), bf16, optimize, scratch,
                   planes + row * spec_.row_bytes());
    }
  });
}

void Encoder::encode_chunk(const float* x, size_t rows, bool bf16, bool optimize, Scratch& scratch,
                           uint8_t* planes) const {
  const Kernels& table = kernels();
  const size_t d = input_dim(), dims = spec_.dims(), bytes = spec_.row_bytes();
  if (normalize_) {
    float* unit = floats(scratch.input, rows * d);
    for (size_t i = 0; i < rows; ++i) scale_to_unit(x + i * d, d, unit + i * d);
    x = unit;
  }
  float* v = floats(scratch.v, rows * dims);
  const FloatRows z = networks_[0].forward(table, x, rows, d, bf16, scratch.work);
  for (size_t i = 0; i < rows; ++i) {
    pack_signs(z.row(i), spec_.dims(), planes + i * bytes);
    if (spec_.planes > 1) set_plane(planes + i * bytes, spec_.dims(), v + i * dims);
  }
  size_t offset = spec_.groups();
  float weight = 1;
  for (uint32_t t = 1; t < spec_.planes; ++t) {
    weight /= 2;
    const uint32_t width = spec_.widths[t];
    if (architecture_ == Architecture::Linear) {
      for (size_t i = 0; i < rows; ++i)
        pack_remainder_signs(z.row(i), v + i * dims, width, planes + i * bytes + offset);
    } else {
      const FloatRows f = networks_[2 * t - 1].forward(table, v, rows, dims, bf16, scratch.work);
      float* residual = floats(scratch.residual, rows * d);
      for (size_t i = 0; i < rows; ++i) {
        const float scale = inverse_length(f.row(i), d);
        for (size_t k = 0; k < d; ++k) residual[i * d + k] = x[i * d + k] - f.row(i)[k] * scale;
      }
      const FloatRows refined = networks_[2 * t].forward(table, residual, rows, d, bf16, scratch.work);
      for (size_t i = 0; i < rows; ++i) pack_signs(refined.row(i), width, planes + i * bytes + offset);
    }
    for (size_t i = 0; i < rows && t + 1 < spec_.planes; ++i)
      add_plane(planes + i * bytes + offset, width, weight, v + i * dims);
    offset += width / 8;
  }
  if (optimize && descent_) descent_->improve(table, z.data, rows, z.stride, scratch.descent, planes);
}

}  // namespace bebr
