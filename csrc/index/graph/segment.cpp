#include "index/graph/segment.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace bebr {
namespace {

// Of records, which hold a factor of 1 where there is none.
Factor mode_of(const RowFormat& format) { return format.factor == Factor::Sub ? Factor::Sub : Factor::Mul; }

}  // namespace

GraphSegment::GraphSegment(const RowFormat& format, const GraphParams& params, CodeSpace space)
    : SegmentReader(format),
      params_(params),
      space_(std::move(space)),
      layout_(format.spec, format.factor_bytes(), params.max_degree, params.inlined, space_.gram),
      kernels_(kernels()),
      best_(space_, mode_of(format)) {}

void GraphSegment::show(const uint8_t* nodes, const int64_t* ids, size_t rows, size_t free) noexcept {
  nodes_ = nodes;
  ids_ = ids;
  rows_ = rows;
  free_ = free;
}

GraphView GraphSegment::view(std::span<const uint64_t> closed) const noexcept {
  return {layout_, kernels_, mode_of(format()), format().code, nodes_, rows_, linked_, closed};
}

Rows GraphSegment::copy_rows(std::span<const uint32_t> slots) const {
  constexpr size_t kAhead = 8;  // records prefetched before they are read
  const size_t row_bytes = format().spec.row_bytes(), n = slots.size();
  Rows out{std::vector<uint8_t>(n * row_bytes), std::vector<uint8_t>(n * layout_.factor_bytes), {}};
  out.ids.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* soon = nodes_ + slots[std::min(i + kAhead, n - 1)] * size_t{layout_.stride};
    for (uint32_t line = 0; line < layout_.links; line += 64) __builtin_prefetch(soon + line);
    const uint8_t* from = nodes_ + slots[i] * size_t{layout_.stride};
    layout_.get_code(from, out.planes.data() + i * row_bytes);
    if (layout_.factor_bytes > 0)
      std::memcpy(out.factors.data() + i * layout_.factor_bytes, from + layout_.factors, layout_.factor_bytes);
    out.ids.push_back(ids_[slots[i]]);
  }
  return out;
}

}  // namespace bebr
