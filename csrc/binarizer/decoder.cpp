#include "binarizer/decoder.h"

#include <algorithm>

#include "base/threads.h"
#include "binarizer/norm_layer.h"
#include "code/planes.h"

namespace bebr {
namespace {

constexpr size_t kChunk = 96;
constexpr size_t kTogether = 8;  // rows whose sums are taken side by side: each waits for its own last addition alone

// <row i of q, mu> for `rows` rows, each summed in order.
template <size_t rows>
void products(const float* q, const float* mu, size_t d, float* out) {
  double sums[rows] = {};
  for (size_t k = 0; k < d; ++k)
    for (size_t i = 0; i < rows; ++i) sums[i] += double{q[i * d + k]} * double{mu[k]};
  for (size_t i = 0; i < rows; ++i) out[i] = static_cast<float>(sums[i]);
}

Dense transposed(const float* weight, const float* bias, uint32_t rows, uint32_t columns) {
  std::vector<float> turned(size_t{rows} * columns);
  for (size_t j = 0; j < rows; ++j) {
    for (size_t k = 0; k < columns; ++k) turned[k * rows + j] = weight[j * columns + k];
  }
  return Dense(Layer{turned.data(), bias, rows, columns});
}

}  // namespace

Decoder::Decoder(const CodeSpec& spec, const float* weight, const float* bias, uint32_t output_dim)
    : spec_(spec),
      reconstruct_(transposed(weight, bias, spec.dims(), output_dim)),
      project_(Layer{weight, std::vector<float>(spec.dims()).data(), output_dim, spec.dims()}),
      mu_(bias, bias + output_dim) {
  const std::optional<NormLayer> norm = norm_layer(spec, weight, bias, output_dim);
  if (!norm) return;
  mu_norm_ = norm->constant;
  norm_.emplace(Layer{norm->gram.data(), norm->twice.data(), spec.dims(), spec.dims()});
}

// take(first row, rows, v of these rows, layer(v)) for chunk after chunk, on all threads.
template <typename Take>
void Decoder::apply(const Dense& layer, const uint8_t* planes, size_t n, const Take& take) const {
  const Kernels& table = kernels();
  parallel_for(n, kChunk, [&](size_t begin, size_t end) {
    static thread_local Buffer v_buffer, out_buffer;  // kept by the thread, as the encoder's
    const size_t dims = spec_.dims();
    float* v = floats(v_buffer, kChunk * dims);
    float* out = floats(out_buffer, kChunk * layer.out_stride());
    for (size_t row = begin; row < end; row += kChunk) {
      const size_t rows = std::min(kChunk, end - row);
      for (size_t i = 0; i < rows; ++i) unpack_row(spec_, planes + (row + i) * spec_.row_bytes(), v + i * dims);
      layer.forward(table, v, rows, dims, false, false, out);
      take(row, rows, FloatRows{v, dims}, FloatRows{out, layer.out_stride()});
    }
  });
}

void Decoder::decode(const uint8_t* planes, size_t n, float* x) const {
  const size_t d = output_dim();
  apply(reconstruct_, planes, n, [&](size_t first, size_t rows, const FloatRows&, const FloatRows& from) {
    for (size_t i = 0; i < rows; ++i) std::copy_n(from.row(i), d, x + (first + i) * d);
  });
}

void Decoder::decode_values(const float* v, size_t n, float* x) const {
  const size_t d = output_dim(), dims = spec_.dims();
  parallel_for(n, kChunk, [&](size_t begin, size_t end) {
    static thread_local Buffer buffer;
    float* out = floats(buffer, kChunk * reconstruct_.out_stride());
    for (size_t row = begin; row < end; row += kChunk) {
      const size_t rows = std::min(kChunk, end - row);
      reconstruct_.forward(kernels(), v + row * dims, rows, dims, false, false, out);
      for (size_t i = 0; i < rows; ++i) std::copy_n(out + i * reconstruct_.out_stride(), d, x + (row + i) * d);
    }
  });
}

void Decoder::squared_norms(const uint8_t* planes, size_t n, float* norms) const {
  const size_t d = output_dim(), dims = spec_.dims();
  if (norm_) {
    apply(*norm_, planes, n, [&](size_t first, size_t rows, const FloatRows& v, const FloatRows& product) {
      for (size_t i = 0; i < rows; ++i) {
        const float *a = v.row(i), *b = product.row(i);
        float sums[8] = {};  // dims is a multiple of 8
        for (size_t j = 0; j < dims; j += 8) {
          for (size_t lane = 0; lane < 8; ++lane) sums[lane] += a[j + lane] * b[j + lane];
        }
        double total = double{mu_norm_};
        for (const float sum : sums) total += double{sum};
        norms[first + i] = static_cast<float>(std::max(total, 0.0));
      }
    });
    return;
  }
  apply(reconstruct_, planes, n, [&](size_t first, size_t rows, const FloatRows&, const FloatRows& from) {
    for (size_t i = 0; i < rows; ++i) norms[first + i] = static_cast<float>(squared_length(from.row(i), d));
  });
}

void Decoder::project(const float* q, size_t n, float* y, float* base) const {
  const Kernels& table = kernels();
  const size_t d = output_dim(), dims = spec_.dims();
  parallel_for(n, 16, [&](size_t begin, size_t end) {
    static thread_local Buffer buffer;
    float* out = floats(buffer, kChunk * project_.out_stride());
    for (size_t row = begin; row < end; row += kChunk) {
      const size_t rows = std::min(kChunk, end - row);
      project_.forward(table, q + row * d, rows, d, false, false, out);
      for (size_t i = 0; i < rows; ++i) std::copy_n(out + i * project_.out_stride(), dims, y + (row + i) * dims);
      size_t i = 0;
      for (; i + kTogether <= rows; i += kTogether)
        products<kTogether>(q + (row + i) * d, mu_.data(), d, base + row + i);
      for (; i < rows; ++i) products<1>(q + (row + i) * d, mu_.data(), d, base + row + i);
    }
  });
}

}  // namespace bebr
