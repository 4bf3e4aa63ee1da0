#include "code/layout.h"

#include <cstring>

namespace bebr {

void put_row(const CodeSpec& spec, const uint8_t* row, size_t at, uint8_t* blocks, uint8_t* rest) {
  const uint32_t groups = spec.groups();
  for (uint32_t g = 0; g < groups; ++g) blocks[sign_offset(groups, at, g)] = row[g];
  if (spec.rest_bytes() > 0) std::memcpy(rest + at * spec.rest_bytes(), row + groups, spec.rest_bytes());
}

void get_row(const ScanView& view, size_t at, uint8_t* row) {
  const uint32_t groups = view.spec.groups();
  for (uint32_t g = 0; g < groups; ++g) row[g] = view.blocks[sign_offset(groups, at, g)];
  if (view.spec.rest_bytes() > 0)
    std::memcpy(row + groups, view.rest + at * view.spec.rest_bytes(), view.spec.rest_bytes());
}

}  // namespace bebr
