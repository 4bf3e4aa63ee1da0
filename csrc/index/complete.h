// Final scores: a row's code over all planes with the fine query, and the factor.
#pragma once

#include <cstdint>
#include <span>

#include "index/query.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

// sum: of kernel `complete` over all planes. Factors may be null where the format has none.
inline float final_score(const RowFormat& format, const uint8_t* factors, float base, const FineQuery& fine,
                         uint32_t row, int32_t sum) {
  const double s = base + fine.scale * sum;
  if (format.factor == Factor::None) return static_cast<float>(s);
  const float f = format.code.value(factors + size_t{row} * format.code.bytes);
  return static_cast<float>(format.factor == Factor::Mul ? s * f : s - f);
}

// Scores rows of a view and hands them to `top`.
void complete_rows(const RowFormat& format, const RowView& view, const FineQuery& fine, float base,
                   std::span<const uint32_t> rows, TopK& top);

// What rounding a score to float before its factor may take, in size; for push_known.
float float_error(const CodeSpec& spec, const FineQuery& fine, float base);

// Hands rows [first, first + count) of a view to `top`, whose sums over all planes are known; mask: a bit a row, null:
// all. error: float_error. rows, scores: room for count + 16. Returns how many got a final score.
size_t push_known(const RowFormat& format, const RowView& view, const FineQuery& fine, float base, float error,
                  const int32_t* sums, size_t first, size_t count, const uint16_t* mask, uint32_t* rows, float* scores,
                  TopK& top);

}  // namespace bebr
