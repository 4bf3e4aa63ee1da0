// The specification of the paper's kernels. A sum is at most 255 * 8192 sub-spaces: int32 holds it.
#include <algorithm>
#include <vector>

#include "bench/baselines.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// By tables.
void lut_sdc_scalar(const uint8_t* data, size_t blocks, size_t code_bytes, const uint8_t* table,
                    int32_t* out) noexcept {
  for (size_t i = 0; i < blocks * 32; ++i) {
    const size_t block = i / 32, document = i % 32;
    int32_t sum = 0;
    for (size_t s = 0; s < 2 * code_bytes; ++s) {
      const uint8_t pair = data[(block * code_bytes * 2 + s) * 16 + document / 2];
      const uint8_t nibble = document % 2 == 0 ? pair & 15 : pair >> 4;
      sum += table[s * 16 + nibble];
    }
    out[i] = sum;
  }
}

int32_t popcount(uint8_t byte) noexcept {
  int32_t count = 0;
  for (; byte != 0; byte >>= 1) count += byte & 1;
  return count;
}

// The same bit by bit: <q_s, d_t> = m - 2 popcount(q_s xor d_t), weighted 2^-(s + t).
void popcount_sdc_scalar(const uint8_t* query, const uint8_t* rows, size_t count, uint32_t width_bytes, uint32_t planes,
                         int32_t* out) noexcept {
  const int32_t dims = static_cast<int32_t>(width_bytes * 8);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = rows + i * planes * width_bytes;
    int32_t sum = 0;
    for (uint32_t s = 0; s < planes; ++s) {
      for (uint32_t t = 0; t < planes; ++t) {
        int32_t differ = 0;
        for (uint32_t g = 0; g < width_bytes; ++g)
          differ += popcount(static_cast<uint8_t>(query[s * width_bytes + g] ^ row[t * width_bytes + g]));
        sum += (dims - 2 * differ) * (1 << (2 * (planes - 1) - s - t));
      }
    }
    out[i] = sum;
  }
}

Baselines bind([[maybe_unused]] Isa isa) {
  Baselines table{lut_sdc_scalar, popcount_sdc_scalar};
#if defined(__x86_64__)
  if (isa >= Isa::Avx2) bind_avx2(table);
  if (isa >= Isa::Avx512) bind_avx512(table);
#endif
  return table;
}

std::vector<Baselines> bind_all() {
  std::vector<Baselines> tables;
  for (const Isa isa : built_isas()) tables.push_back(bind(isa));
  return tables;
}

}  // namespace

const Baselines& baselines(Isa isa) {
  static const std::vector<Baselines> tables = bind_all();
  const auto isas = built_isas();
  return tables[static_cast<size_t>(std::find(isas.begin(), isas.end(), kernels(isa).isa) - isas.begin())];
}

}  // namespace bebr
