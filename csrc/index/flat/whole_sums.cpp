#include "index/flat/whole_sums.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/threads.h"
#include "index/fine_bytes.h"

namespace bebr {
namespace {

constexpr size_t kChunkBlocks = 16;     // expanded at a time, as by ExpandedScan
constexpr size_t kMostBytes = 4 << 20;  // of sums
// Completing a row takes some 60 cycles, its two products in AVX-512 some 4, in AMX less than one.
constexpr size_t kShare = 8;

}  // namespace

bool WholeSums::pays(size_t queries, size_t survivors, const FlatParts& parts) {
  const size_t from = kernels().expand_queries;
  // For a single query to expand a row takes a third to a half of what completing it does.
  const bool many = queries >= from ? survivors * kShare >= parts.rows() : survivors == parts.rows();
  return from > 0 && many && queries * parts.blocks() * kBlockRows * sizeof(int32_t) <= kMostBytes;
}

WholeSums::WholeSums(const RowFormat& format, const FlatParts& parts, std::span<const FineQuery> queries,
                     const SearchOptions& options)
    : stride_(parts.blocks() * kBlockRows), fits_(queries.size()), memory_(queries.size() * stride_ * sizeof(int32_t)) {
  const CodeSpec& spec = format.spec;
  const Kernels& kernel = kernels();
  const size_t n = queries.size(), query_bytes = y8_stride(spec.groups());
  Buffer y8(2 * n * query_bytes);
  for (size_t i = 0; i < n; ++i)
    fits_[i] = split_fine(spec, queries[i], y8.as<int8_t>() + i * query_bytes, y8.as<int8_t>() + (n + i) * query_bytes);
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
          join_products(spec, queries[i], high, low, some * kBlockRows,
                        sums() + i * stride_ + parts.first(p) + block * kBlockRows);
        }
      }
    });
  }
}

}  // namespace bebr
