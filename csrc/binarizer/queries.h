// Queries on their way to codes (docs/method.md): vectors in the space where a model scores, and their products with
// its decoder.
#pragma once

#include <cstddef>
#include <memory>

#include "binarizer/decoder.h"
#include "binarizer/encoder.h"
#include "binarizer/network.h"

namespace bebr {

enum class Metric { Cosine, InnerProduct, SquaredDistance };

// Scales rows of x to unit length, in place; a row of zeros stays so. To the bit what bebr.arrays.normalized gives.
void normalize_rows(float* x, size_t rows, size_t dim);

class QueryModel {
 public:
  struct Parts {
    Metric metric = Metric::Cosine;
    std::shared_ptr<const Encoder> encoder;
    std::shared_ptr<const Decoder> decoder;  // null: scores are taken in code space
    std::shared_ptr<const Decoder> stage;    // of the sign plane alone; null: it shares the decoder
    std::shared_ptr<const Network> adapter;  // what queries pass first; null: nothing
    float skip = 0;                          // of the adapter: x -> skip x + network(x)
    double scale = 1, offset = 0;            // squared distances: what their factors were scaled with
  };
  explicit QueryModel(Parts parts);

  Metric metric() const noexcept { return parts_.metric; }
  bool has_decoder() const noexcept { return parts_.decoder != nullptr; }
  bool has_stage() const noexcept { return parts_.stage != nullptr; }
  size_t query_dim() const noexcept;                                      // of what it takes
  size_t inner_dim() const noexcept;                                      // of what vectors() gives
  size_t dims() const noexcept { return parts_.encoder->spec().dims(); }  // of a code
  const CodeSpec& spec() const noexcept { return parts_.encoder->spec(); }

  // x [n, query_dim] -> out [n, inner_dim], in the decoder's space; without a decoder, code values. coded: what the
  // code of each query stands for. Without a decoder it must be.
  void vectors(const float* x, size_t n, bool coded, float* out) const;
  // What codes stand for in that space, planes [n, row_bytes] -> out [n, inner_dim]; for cosine of unit length.
  void reconstruct(const uint8_t* planes, size_t n, float* out) const;
  // The means of what rows stand for there: of their code values [n, dims] and factors [n], as CodeMeans has them.
  void means(const float* values, const float* weights, size_t n, float* out) const;
  // q [n, inner_dim] -> y [n, dims], base [n]: the score of a code v is base + <y, v>, with its factor; offset [n]:
  // what turns it into a squared distance, else 0.
  void project(const float* q, size_t n, float* y, float* base, float* offset) const;
  // The same for the sign plane's own decoder, which there must be.
  void project_stage(const float* q, size_t n, float* y, float* base) const;
  // Scores of the engine in the metric's own unit, in place: [n, k], with project's offset [n].
  void to_metric(float* scores, size_t n, size_t k, const float* offset) const;
  // The engine's score that a row must lie above to be within `radius` of a query.
  float min_score(double radius, float offset) const;

 private:
  void scale(float* y, float* base, size_t n) const;

  Parts parts_;
};

}  // namespace bebr
