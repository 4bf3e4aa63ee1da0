// What the operating system is told, and asked, about the pages of mapped memory.
#pragma once

#include <cstdint>
#include <span>

namespace bebr {

// Whether every page of these bytes is in memory. Linux answers yes, whatever is true, for a file that this process
// neither owns nor may write.
bool resident(std::span<const uint8_t> bytes);

// Starts to read these bytes, and does not wait for them.
void will_need(std::span<const uint8_t> bytes);

// These bytes are touched in no order: touching a page reads that page, not its neighbours as well.
void touched_at_random(std::span<const uint8_t> bytes);

}  // namespace bebr
