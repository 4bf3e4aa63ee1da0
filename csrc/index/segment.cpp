#include "index/segment.h"

namespace bebr {

const char* kind_name(SegmentKind kind) {
  return kind == SegmentKind::Flat ? "flat" : kind == SegmentKind::Ivf ? "ivf" : "graph";
}

const IdOrder& SegmentReader::order() const {
  std::call_once(ordered_, [this] {
    if (!by_id_) made_ = IdOrder::of(ids());
    order_ = IdOrder(ids(), by_id_.value_or(made_));
  });
  return order_;
}

}  // namespace bebr
