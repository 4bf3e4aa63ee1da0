// How long a thread runs before others do.
#pragma once

namespace bebr {

// Asks the scheduler to let the calling thread run briefly and soon: what wakes up to answer somebody then need not
// wait until a thread that encodes or merges has used up its turn, some 3 ms. Its share of the processor stays the
// same. Returns whether it was granted: by Linux from 6.12 on.
bool ask_for_short_slices() noexcept;

}  // namespace bebr
