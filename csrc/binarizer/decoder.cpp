#include "binarizer/decoder.h"

#include <algorithm>

#include "base/threads.h"
#include "binarizer/norm_layer.h"
#include "binarizer/row_product.h"
#include "code/planes.h"

namespace bebr {
namespace {

constexpr size_t kChunk = 96;
Dense transposed(const float* weight, const float* bias, uint32_t rows, uint32_t columns) {
  std::vector<float> turned(size_t{rows} * columns);
  for (size_t j = 0; j < rows; ++j) {
    for (size_t k = 0; k < columns; ++k) turned[k * rows + j] = weight[j * columns + k];
  }
  return Dense(Layer{turned.data(), bias, rows, columns});
}

// What Decoder::apply gives, as rows of d floats.
auto into(float* x, size_t d) {
  return [x, d](size_t first, size_t rows, const float*, const FloatRows& from) {
    for (size_t i = 0; i < rows; ++i) std::copy_n(from.row(i), d, x + (first + i) * d);
  };
}

}  // namespace

Decoder::Decoder(const CodeSpec& spec, const float* weight, const float* bias, uint32_t output_dim)
    : spec_(spec),
      reconstruct_(transposed(weight, bias, spec.dims(), output_dim)),
      project_(weight, output_dim, spec.dims()),
      mu_(bias, bias + output_dim) {
  const std::optional<NormLayer> norm = norm_layer(spec, weight, bias, output_dim);
  if (!norm) return;
  mu_norm_ = norm->constant;
  norm_.emplace(Layer{norm->gram.data(), norm->twice.data(), spec.dims(), spec.dims()});
}

// take(first row, rows, v of these rows [rows, dims], layer(v)) for chunk after chunk, on all threads. values(first
// row, rows, room): v, in `room` or wherever it stands.
template <typename Values, typename Take>
void Decoder::apply(const Dense& layer, size_t n, const Values& values, const Take& take) const {
  const Kernels& table = kernels();
  parallel_for(n, kChunk, [&](size_t begin, size_t end) {
    static thread_local Buffer v_buffer, out_buffer;  // kept by the thread, as the encoder's
    const size_t dims = spec_.dims();
    float* room = floats(v_buffer, kChunk * dims);
    float* out = floats(out_buffer, kChunk * layer.out_stride());
    for (size_t row = begin; row < end; row += kChunk) {
      const size_t rows = std::min(kChunk, end - row);
      const float* v = values(row, rows, room);
      layer.forward(table, v, rows, dims, false, false, out);
      take(row, rows, v, FloatRows{out, layer.out_stride()});
    }
  });
}

template <typename Take>
void Decoder::apply(const Dense& layer, const uint8_t* planes, size_t n, const Take& take) const {
  const auto unpacked = [&](size_t row, size_t rows, float* room) {
    for (size_t i = 0; i < rows; ++i)
      unpack_row(spec_, planes + (row + i) * spec_.row_bytes(), room + i * spec_.dims());
    return room;
  };
  apply(layer, n, unpacked, take);
}

void Decoder::decode(const uint8_t* planes, size_t n, float* x) const {
  apply(reconstruct_, planes, n, into(x, output_dim()));
}

void Decoder::decode_values(const float* v, size_t n, float* x) const {
  const auto given = [&](size_t row, size_t, float*) { return v + row * spec_.dims(); };
  apply(reconstruct_, n, given, into(x, output_dim()));
}

void Decoder::squared_norms(const uint8_t* planes, size_t n, float* norms) const {
  const size_t d = output_dim(), dims = spec_.dims();
  if (norm_) {
    apply(*norm_, planes, n, [&](size_t first, size_t rows, const float* v, const FloatRows& product) {
      for (size_t i = 0; i < rows; ++i) {
        const float *a = v + i * dims, *b = product.row(i);
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
  apply(reconstruct_, planes, n, [&](size_t first, size_t rows, const float*, const FloatRows& from) {
    for (size_t i = 0; i < rows; ++i) norms[first + i] = static_cast<float>(squared_length(from.row(i), d));
  });
}

void Decoder::project(const float* q, size_t n, float* y, float* base) const {
  const Kernels& table = kernels();
  const size_t d = output_dim(), dims = spec_.dims();
  parallel_for(n, 16, [&](size_t begin, size_t end) {
    project_.forward(table, q + begin * d, end - begin, y + begin * dims, dims);
    for (size_t i = begin; i < end; ++i) base[i] = row_product(q + i * d, mu_.data(), d);
  });
}

}  // namespace bebr
