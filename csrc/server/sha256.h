// SHA-256 (FIPS 180-4), of texts as short as a caller's key.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace bebr {

using Sha256 = std::array<uint8_t, 32>;

Sha256 sha256(std::string_view text) noexcept;

}  // namespace bebr
