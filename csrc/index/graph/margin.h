// How far a neighbour's bytes in a record may fall short of what the rest of its code adds.
//
// Two standard deviations of random bits hide hardly any near row, but where the bytes say much, fewer are faster at
// equal recall. How many is learned from the graph: some of its documents are taken as queries, and their links as what
// they are to find (docs/experiments/graph-inline.md).
#pragma once

#include "index/graph/record.h"
#include "index/graph/view.h"

namespace bebr {

inline constexpr float kUsualMargin = 2;

// In standard deviations of random bits, between a half and two; of some documents that are linked, the same ones for
// the same nodes. Two where there are too few of them, or their bytes are few.
float learn_margin(const GraphView& view, const CodeSpace& space);

}  // namespace bebr
