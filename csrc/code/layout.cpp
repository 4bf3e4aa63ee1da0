#include "code/layout.h"

#include <cstring>

namespace bebr {

namespace {

constexpr size_t kAhead = 8;  // rows prefetched before they are copied

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

void copy_rows(const ScanView& from, const uint32_t* rows, size_t count, size_t at, uint8_t* blocks, uint8_t* rest) {
  const uint32_t groups = from.spec.groups();
  const size_t rest_bytes = from.spec.rest_bytes();
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {  // rows far apart: each would wait for memory otherwise
      const size_t soon = rows[i + kAhead];
      for (size_t line = 0; line < rest_bytes; line += 64) __builtin_prefetch(from.rest + soon * rest_bytes + line);
      for (uint32_t g = 0; g < groups; g += 4) __builtin_prefetch(from.blocks + sign_offset(groups, soon, g));
    }
    each_quad(groups, at + i, [&](uint32_t g, size_t to, size_t bytes) {
      std::memcpy(blocks + to, from.blocks + sign_offset(groups, rows[i], g), bytes);
    });
    if (rest_bytes > 0) std::memcpy(rest + (at + i) * rest_bytes, from.rest + rows[i] * rest_bytes, rest_bytes);
  }
}

void copy_signs(const ScanView& from, size_t first, size_t count, size_t at, uint8_t* blocks) {
  const uint32_t groups = from.spec.groups();
  for (size_t i = 0; i < count; ++i)
    each_quad(groups, at + i, [&](uint32_t g, size_t to, size_t bytes) {
      std::memcpy(blocks + to, from.blocks + sign_offset(groups, first + i, g), bytes);
    });
}

}  // namespace bebr
