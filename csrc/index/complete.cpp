#include "index/complete.h"

#include <algorithm>

namespace bebr {

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

}  // namespace bebr
