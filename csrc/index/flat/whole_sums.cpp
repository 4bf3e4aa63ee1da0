#include "index/flat/whole_sums.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/threads.h"

namespace bebr {
namespace {

constexpr size_t kChunkBlocks = 16;     // expanded at a time, as by ExpandedScan
constexpr size_t kMostBytes = 4 << 20;  // of sums
// Completing a row takes some 60 cycles, its two products in AVX-512 some 4, in AMX less than one.
constexpr size_t kShare = 8;

// y = 256 high + low, both of one byte. False where a value is too large for that.
bool split(const CodeSpec& spec, const FineQuery& query, int8_t* high, int8_t* low) {
  constexpr int32_t kMost = 127 * 256 + 127;
  const int16_t* y = query.y16.as<int16_t>();
  bool fits = true;
  for (uint32_t j = 0; j < spec.dims(); ++j) {
    low[j] = static_cast<int8_t>(y[j]);  // its low byte
    high[j] = static_cast<int8_t>((y[j] - low[j]) / 256);
    fits = fits && y[j] <= kMost;
  }
  return fits;
}

}  // namespace

bool WholeSums::pays(size_t queries, size_t survivors, const FlatParts& parts) {
  const size_t from = kernels().expand_queries;
  return from > 0 && queries >= from && survivors * kShare >= parts.rows() &&
         queries * parts.blocks() * kBlockRows * sizeof(int32_t) <= kMostBytes;
}

WholeSums::WholeSums(const RowFormat& format, const FlatParts& parts, std::span<const FineQuery> queries,
                     const SearchOptions& options)
    : stride_(parts.blocks() * kBlockRows), fits_(queries.size()), memory_(queries.size() * stride_ * sizeof(int32_t)) {
  const CodeSpec& spec = format.spec;
  const Kernels& kernel = kernels();
  const size_t n = queries.size(), query_bytes = y8_stride(spec.groups());
  Buffer y8(2 * n * query_bytes);
  for (size_t i = 0; i < n; ++i)
    fits_[i] = split(spec, queries[i], y8.as<int8_t>() + i * query_bytes, y8.as<int8_t>() + (n + i) * query_bytes);
  for (size_t p = 0; p < parts.parts().size(); ++p) {
    const ScanView view = parts[p].rows.scan(spec);
    const size_t blocks = block_count(parts[p].rows.rows);
    parallel_for((blocks + kChunkBlocks - 1) / kChunkBlocks, 4, [&](size_t begin, size_t end) {
      Buffer expanded(kChunkBlocks * expanded_bytes(spec.groups()));
      std::vector<int32_t> products(2 * n * kChunkBlocks * kBlockRows);
      constexpr size_t kStride = kChunkBlocks * kBlockRows;
      for (size_t chunk = begin; chunk < end; ++chunk) {
        check_stop(options);
        const size_t block = chunk * kChunkBlocks, some = std::min(kChunkBlocks, blocks - block);
        kernel.expand(view, block, some, spec.groups(), expanded.data());
        kernel.dot_expanded(expanded.data(), some, spec.groups(), y8.as<int8_t>(), 2 * n, products.data(), kStride);
        for (size_t i = 0; i < n; ++i) {
          const int32_t *high = products.data() + i * kStride, *low = high + n * kStride;
          int32_t* to = sums() + i * stride_ + parts.first(p) + block * kBlockRows;
          const auto ones = static_cast<uint32_t>(queries[i].planes(0, spec.planes).ones);
          // Modulo 2^32: the end result fits.
          for (size_t row = 0; row < some * kBlockRows; ++row)
            to[row] = static_cast<int32_t>(
                2 * (256 * static_cast<uint32_t>(high[row]) + static_cast<uint32_t>(low[row])) - ones);
        }
      }
    });
  }
}

}  // namespace bebr
