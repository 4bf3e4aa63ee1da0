// Inner products of rows in double, each summed in order: eight side by side, for each sum waits for its own last
// addition alone.
#pragma once

#include <cstddef>

namespace bebr {

// out[i] = sum_k x[i, k] other(i, k) of `rows` rows of d floats; other gives a float.
template <size_t rows, typename Other>
void products_together(const float* x, size_t d, const Other& other, float* out) {
  double sums[rows] = {};
  for (size_t k = 0; k < d; ++k)
    for (size_t i = 0; i < rows; ++i) sums[i] += double{x[i * d + k]} * double{other(i, k)};
  for (size_t i = 0; i < rows; ++i) out[i] = static_cast<float>(sums[i]);
}

// The same of n rows.
template <typename Other>
void row_products(const float* x, size_t n, size_t d, const Other& other, float* out) {
  constexpr size_t kTogether = 8;
  size_t i = 0;
  for (; i + kTogether <= n; i += kTogether)
    products_together<kTogether>(x + i * d, d, [&](size_t row, size_t k) { return other(i + row, k); }, out + i);
  for (; i < n; ++i) products_together<1>(x + i * d, d, [&](size_t, size_t k) { return other(i, k); }, out + i);
}

}  // namespace bebr
