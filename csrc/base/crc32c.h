// CRC-32C (Castagnoli), which every file carries of its sections (base/file.h), by the instructions of a bundle.
#pragma once

#include <cstdint>
#include <span>

#include "base/cpu.h"

namespace bebr {

// Of bytes that follow others, of which it is `seed`. This machine must run the bundle; scalar does it by tables.
uint32_t crc32c_by(Isa isa, std::span<const uint8_t> bytes, uint32_t seed = 0);

}  // namespace bebr
