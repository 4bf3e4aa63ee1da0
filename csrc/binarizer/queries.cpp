#include "binarizer/queries.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "binarizer/network.h"
#include "binarizer/row_product.h"
#include "code/planes.h"

namespace bebr {
namespace {

constexpr size_t kGrain = 64;  // rows

// Of squares, in the order in which numpy sums: a vector's length must be the same in Python and here.
float sum_of_squares(const float* x, size_t n) {
  if (n > 128) {
    const size_t half = n / 2 - n / 2 % 8;
    return sum_of_squares(x, half) + sum_of_squares(x + half, n - half);
  }
  float sum = 0;
  size_t i = 0;
  if (n >= 8) {
    float lanes[8];
    for (size_t lane = 0; lane < 8; ++lane) lanes[lane] = x[lane] * x[lane];
    for (i = 8; i + 8 <= n; i += 8)
      for (size_t lane = 0; lane < 8; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
    sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
  }
  for (; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

void normalize_row(float* x, size_t dim) {
  float squares = sum_of_squares(x, dim);
  if (!squares_fit(squares)) {
    float most = 0;
    for (size_t j = 0; j < dim; ++j) most = std::max(most, std::abs(x[j]));
    if (most == 0) return;
    for (size_t j = 0; j < dim; ++j) x[j] /= most;
    squares = sum_of_squares(x, dim);
  }
  const float length = std::sqrt(squares);
  for (size_t j = 0; j < dim; ++j) x[j] /= length;
}

}  // namespace

void normalize_rows(float* x, size_t rows, size_t dim) {
  parallel_for(rows, kGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) normalize_row(x + i * dim, dim);
  });
}

QueryModel::QueryModel(Parts parts) : parts_(std::move(parts)) {}

size_t QueryModel::query_dim() const noexcept {
  return parts_.adapter ? parts_.adapter->in() : parts_.encoder->input_dim();
}

size_t QueryModel::inner_dim() const noexcept { return parts_.decoder ? parts_.encoder->input_dim() : dims(); }

void QueryModel::vectors(const float* x, size_t n, bool coded, float* out) const {
  const bool cosine = parts_.metric == Metric::Cosine;
  const size_t dim = parts_.encoder->input_dim();
  std::vector<float> held;  // queries on their way, where they do not go by `out` itself
  float* at = out;
  if (coded) {
    held.resize(n * dim);
    at = held.data();
  }
  if (parts_.adapter) {
    const size_t in = parts_.adapter->in();
    std::vector<float> given(x, x + n * in);
    if (cosine) normalize_rows(given.data(), n, in);
    parts_.adapter->forward_all(given.data(), n, at);
    if (parts_.skip != 0)
      for (size_t i = 0; i < n * dim; ++i) at[i] += parts_.skip * given[i];
    if (cosine) normalize_rows(at, n, dim);
  } else {
    std::copy_n(x, n * dim, at);
  }
  if (cosine) normalize_rows(at, n, dim);
  if (!coded) return;
  std::vector<uint8_t> planes(n * spec().row_bytes());
  parts_.encoder->encode(at, n, false, true, planes.data());
  reconstruct(planes.data(), n, out);
}

void QueryModel::reconstruct(const uint8_t* planes, size_t n, float* out) const {
  if (!parts_.decoder) {
    for (size_t i = 0; i < n; ++i) unpack_row(spec(), planes + i * spec().row_bytes(), out + i * dims());
    return;
  }
  parts_.decoder->decode(planes, n, out);
  if (parts_.metric == Metric::Cosine) normalize_rows(out, n, inner_dim());
}

void QueryModel::means(const float* values, const float* weights, size_t n, float* out) const {
  if (parts_.decoder)
    parts_.decoder->decode_values(values, n, out);
  else
    std::copy_n(values, n * dims(), out);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < inner_dim(); ++j) out[i * inner_dim() + j] *= weights[i];
}

void QueryModel::project(const float* q, size_t n, float* y, float* base, float* offset) const {
  std::fill_n(offset, n, 0.0f);
  if (!parts_.decoder) {
    std::copy_n(q, n * dims(), y);
    std::fill_n(base, n, 0.0f);
    return;
  }
  if (parts_.metric == Metric::SquaredDistance) {
    const size_t dim = inner_dim();
    parallel_for(n, kGrain, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) offset[i] = row_product(q + i * dim, q + i * dim, dim);
    });
  }
  parts_.decoder->project(q, n, y, base);
  scale(y, base, n);
}

void QueryModel::project_stage(const float* q, size_t n, float* y, float* base) const {
  parts_.stage->project(q, n, y, base);
  scale(y, base, n);
}

// Squared distances: score = s (2 <q, x̂> - offset) - f with f = s (||x̂||^2 - offset), so that fp16 holds f well.
void QueryModel::scale(float* y, float* base, size_t n) const {
  if (parts_.metric != Metric::SquaredDistance) return;
  const auto twice = static_cast<float>(2 * parts_.scale), once = static_cast<float>(parts_.scale),
             less = static_cast<float>(parts_.offset);
  for (size_t i = 0; i < n * dims(); ++i) y[i] *= twice;
  for (size_t i = 0; i < n; ++i) base[i] = once * (2 * base[i] - less);
}

void QueryModel::to_metric(float* scores, size_t n, size_t k, const float* offset) const {
  if (parts_.metric != Metric::SquaredDistance) return;
  const auto by = static_cast<float>(parts_.scale);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < k; ++j) {
      float& score = scores[i * k + j];
      score = std::isfinite(score) ? offset[i] - score / by : std::numeric_limits<float>::infinity();
    }
}

float QueryModel::min_score(double radius, float offset) const {
  auto least = static_cast<float>(radius);
  if (parts_.metric == Metric::SquaredDistance) least = (offset - least) * static_cast<float>(parts_.scale);
  return std::nextafter(least, -std::numeric_limits<float>::infinity());
}

}  // namespace bebr
