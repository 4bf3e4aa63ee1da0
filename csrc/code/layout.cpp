#include "code/layout.h"

#include <cstring>

namespace bebr {

namespace {

// copy(byte of the row format, byte of the blocks, bytes) for each quad of the sign plane of row `at`.
template <typename Copy>
void each_quad(uint32_t groups, size_t at, const Copy& copy) {
  uint32_t g = 0;
  size_t to = sign_offset(groups, at, 0);
  for (; g + 4 <= groups; g += 4, to += 4 * kBlockRows) copy(g, to, 4);
  if (g < groups) copy(g, sign_offset(groups, at, g), groups - g);
}

}  // namespace

void put_row(const CodeSpec& spec, const uint8_t* row, size_t at, uint8_t* blocks, uint8_t* rest) {
  const uint32_t groups = spec.groups();
  each_quad(groups, at, [&](uint32_t g, size_t to, size_t bytes) { std::memcpy(blocks + to, row + g, bytes); });
  if (spec.rest_bytes() > 0) std::memcpy(rest + at * spec.rest_bytes(), row + groups, spec.rest_bytes());
}

void get_row(const ScanView& view, size_t at, uint8_t* row) {
  const uint32_t groups = view.spec.groups();
  each_quad(groups, at, [&](uint32_t g, size_t to, size_t bytes) { std::memcpy(row + g, view.blocks + to, bytes); });
  if (view.spec.rest_bytes() > 0)
    std::memcpy(row + groups, view.rest + at * view.spec.rest_bytes(), view.spec.rest_bytes());
}

}  // namespace bebr
