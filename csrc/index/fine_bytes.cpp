#include "index/fine_bytes.h"

#include <cstring>

namespace bebr {

bool split_fine(const CodeSpec& spec, const FineQuery& query, int8_t* high, int8_t* low) {
  constexpr int32_t kMost = 127 * 256 + 127;
  const int16_t* y = query.y16.as<int16_t>();
  bool fits = true;
  std::memset(high, 0, y8_stride(spec.groups()));
  std::memset(low, 0, y8_stride(spec.groups()));
  for (uint32_t j = 0; j < spec.dims(); ++j) {
    low[j] = static_cast<int8_t>(y[j]);  // its low byte
    high[j] = static_cast<int8_t>((y[j] - low[j]) / 256);
    fits = fits && y[j] <= kMost;
  }
  return fits;
}

void join_products(const CodeSpec& spec, const FineQuery& query, const int32_t* high, const int32_t* low, size_t rows,
                   int32_t* sums) {
  const auto ones = static_cast<uint32_t>(query.planes(0, spec.planes).ones);
  // Modulo 2^32: the end result fits.
  for (size_t row = 0; row < rows; ++row)
    sums[row] =
        static_cast<int32_t>(2 * (256 * static_cast<uint32_t>(high[row]) + static_cast<uint32_t>(low[row])) - ones);
}

}  // namespace bebr
