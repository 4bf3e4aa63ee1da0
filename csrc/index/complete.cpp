#include "index/complete.h"

#include <algorithm>
#include <cmath>

namespace bebr {
namespace {

// Of the size of a score before its factor, what rounding it to float in four steps may take: 2^-24 each.
constexpr double kFloatError = 1e-6;

}  // namespace

void complete_rows(const RowFormat& format, const RowView& view, const FineQuery& fine, float base,
                   std::span<const uint32_t> rows, TopK& top) {
  constexpr size_t kPiece = 64;  // rows that one call of the kernel completes
  const Kernels& kernel = kernels();
  const CodeSpec& spec = format.spec;
  int32_t sums[kPiece];
  for (size_t i = 0; i < rows.size(); i += kPiece) {
    const size_t some = std::min(kPiece, rows.size() - i);
    kernel.complete(view.scan(spec), fine.y16.as<int16_t>(), fine.planes(0, spec.planes), rows.data() + i, some, sums);
    for (size_t j = 0; j < some; ++j)
      top.push({final_score(format, view.factors, base, fine, rows[i + j], sums[j]), view.ids[rows[i + j]]});
  }
}

float float_error(const CodeSpec& spec, const FineQuery& fine, float base) {
  const int16_t* y = fine.y16.as<int16_t>();
  double most = 0;  // of a sum
  for (uint32_t j = 0; j < spec.dims(); ++j) most += ((1u << spec.planes) - 1) * std::abs(y[j]);
  return static_cast<float>(kFloatError * (std::abs(double{base}) + fine.scale * most));
}

// As floats scores may be off; those that are pushed are final.
size_t push_known(const RowFormat& format, const RowView& view, const FineQuery& fine, float base, float error,
                  const int32_t* sums, size_t first, size_t count, const uint16_t* mask, uint32_t* rows, float* scores,
                  TopK& top) {
  const FactorCode& code = format.code;
  const float threshold = top.threshold() - static_cast<float>(kFloatError) * std::abs(top.threshold());
  const size_t kept = kernels().select(
      sums, count, view.factors != nullptr ? view.factors + first * code.bytes : nullptr, code, format.factor, mask,
      base + error, static_cast<float>(fine.scale), threshold, static_cast<uint32_t>(first), rows, scores);
  for (size_t i = 0; i < kept; ++i)
    top.push({final_score(format, view.factors, base, fine, rows[i], sums[rows[i] - first]), view.ids[rows[i]]});
  return kept;
}

}  // namespace bebr
