// Advice to the operating system about pages of mapped memory, and questions about them.
#pragma once

#include <cstdint>
#include <span>

namespace bebr {

// Whether every page of these bytes is in memory. Linux always answers yes for a file that this process neither owns
// nor may write.
bool resident(std::span<const uint8_t> bytes);

// Starts to read these bytes, and does not wait for them.
void will_need(std::span<const uint8_t> bytes);

// These bytes are read at random: reading a page does not read its neighbours as well.
void touched_at_random(std::span<const uint8_t> bytes);

}  // namespace bebr
