// Random codes for the tests of CUDA kernels, in the engine's layout and in the device's.
#pragma once

#include <cstring>
#include <utility>
#include <vector>

#include "base/half.h"
#include "check.h"
#include "code/layout.h"
#include "cuda/codes.h"
#include "orders.h"

namespace bebr::test {

struct CodeRows {
  CodeSpec spec;
  uint32_t rows;
  FactorCode code;
  Factor factor;
  std::vector<uint8_t> planes, blocks, rest, factors;  // row format; scan layout; code.bytes a row
  cuda::DeviceArray<uint8_t> device_blocks, device_factors;
  cuda::DeviceArray<uint32_t> device_groups;

  ScanView scan() const { return {spec, blocks.data(), rest.data(), rows}; }
  cuda::CodeView view() const {
    return {std::as_const(device_blocks).data(),
            std::as_const(device_groups).data(),
            rows,
            spec.row_bytes(),
            spec.dims(),
            spec.planes};
  }
  cuda::FactorView factor_view() const {
    return {std::as_const(device_factors).data(), factor, code.bytes, code.low, code.step};
  }
};

// factor_bytes: 1, 2 or 4.
inline CodeRows make_rows(Random& random, const std::vector<uint32_t>& widths, uint32_t rows, Factor factor,
                          uint32_t factor_bytes) {
  const CodeSpec spec = CodeSpec::make(widths);
  CodeRows made{spec, rows, FactorCode::make(factor_bytes, 0x3800, 9), factor, {}, {}, {}, {}, {}, {}, {}};
  made.planes.resize(rows * spec.row_bytes());
  for (uint8_t& byte : made.planes) byte = static_cast<uint8_t>(random());
  made.blocks.resize(block_count(rows) * block_bytes(spec));
  made.rest.resize(rows * spec.rest_bytes());
  for (uint32_t i = 0; i < rows; ++i)
    put_row(spec, made.planes.data() + i * spec.row_bytes(), i, made.blocks.data(), made.rest.data());
  made.factors.resize(rows * factor_bytes);
  for (uint32_t i = 0; i < rows; ++i) {
    const float value = 0.5f + static_cast<float>(random() % 1000) / 700;
    const uint16_t half = float_to_half(value);
    uint8_t* to = made.factors.data() + i * factor_bytes;
    if (factor_bytes == 1) *to = static_cast<uint8_t>(random());
    if (factor_bytes == 2) std::memcpy(to, &half, 2);
    if (factor_bytes == 4) std::memcpy(to, &value, 4);
  }
  made.device_blocks = cuda::DeviceArray<uint8_t>(cuda::make_blocks(spec, made.planes.data(), rows));
  made.device_groups = cuda::DeviceArray<uint32_t>(cuda::make_groups(spec));
  made.device_factors = cuda::DeviceArray<uint8_t>(made.factors);
  return made;
}

}  // namespace bebr::test
