#include "bench/time_kernel.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>

#include "base/buffer.h"
#include "base/error.h"
#include "bench/baselines.h"
#include "bench/paper.h"
#include "kernels/dense.h"
#include "kernels/kernels.h"
#include "kernels/projection.h"

namespace bebr {
namespace {

constexpr size_t kChunkBlocks = 64;     // as an index scans: the sums stay in L1
constexpr size_t kExpandedBlocks = 16;  // as an index expands (index/expanded.cpp)

// Bits hardly change a kernel's time, so one random page is enough and is copied.
Buffer random_bytes(size_t size, uint8_t mask = 0xff) {
  Buffer bytes(round_up(size, kAlignment));
  std::mt19937_64 random(1);
  const size_t page = std::min<size_t>(size, 4096);
  for (size_t i = 0; i < page; ++i) bytes.data()[i] = static_cast<uint8_t>(random()) & mask;
  for (size_t i = page; i < size; ++i) bytes.data()[i] = bytes.data()[i - page];
  return bytes;
}

// Four running sums and a prefetch as far ahead as the scan's: the most that one thread gets from memory.
uint64_t read_all(const uint8_t* data, size_t size) {
  uint64_t sums[32] = {};
  const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
  for (size_t i = 0; i + 32 <= size / 8; i += 32) {
    for (size_t line = 0; line < 4; ++line) __builtin_prefetch(words + i + 1024 + 8 * line, 0, 2);
    for (size_t j = 0; j < 32; ++j) sums[j] += words[i + j];
  }
  return std::accumulate(sums, sums + 32, uint64_t{0});
}

// Digits of codes of four planes of equal widths, plane after plane (kernels.h: DigitOrder).
struct Digits {
  std::vector<uint8_t> from;
  std::vector<uint64_t> masks;
  DigitOrder order;

  explicit Digits(const CodeSpec& spec) {
    const uint32_t groups = spec.groups(), vectors = (groups + 15) / 16;
    from.resize(64 * size_t{vectors});
    masks.resize(DigitOrder::kSources * size_t{vectors});
    for (uint32_t byte = 0; byte < 4 * groups; ++byte) {
      const uint32_t group = byte % groups, unit = group % 16, to = unit % 8 * 8 + (unit < 8 ? 4 : 0) + byte / groups;
      from[group / 16 * 64 + to] = static_cast<uint8_t>(byte % 64);
      masks[group / 16 * DigitOrder::kSources + byte / 64] |= uint64_t{1} << to;
    }
    order = {4 * groups, vectors, from.data(), masks.data()};
  }
};

}  // namespace

std::vector<double> time_kernel(Isa isa, const std::string& kernel, uint32_t dims, uint32_t planes, size_t rows,
                                uint32_t queries, size_t repeats) {
  const Kernels& k = kernels(isa);
  const Baselines& paper = baselines(isa);
  const std::vector<uint32_t> widths(planes, dims);
  const CodeSpec spec = CodeSpec::make(widths);
  if (rows == 0 || queries == 0 || repeats == 0)
    fail(ErrorCode::InvalidArgument, "rows, queries and repeats must be 1 or more");
  const bool scan = kernel == "scan_table" || kernel == "scan_batch";
  const size_t row_bytes = scan ? spec.groups() : spec.row_bytes();
  const size_t blocks = block_count(rows);
  const Buffer codes = random_bytes(round_up(rows, 32) * row_bytes);
  // The rest plane of `complete` follows its blocks.
  const ScanView view{spec, codes.data(), codes.data() + blocks * block_bytes(spec), rows / kBlockRows * kBlockRows};

  const Buffer tables = random_bytes(queries * table_bytes(spec.groups()), 0x7f);
  const auto code_bytes = static_cast<uint32_t>(row_bytes);
  const Buffer y8 = random_bytes(std::max(queries * y8_stride(spec.groups()), bits_stride(code_bytes)), 0x0f);
  const Buffer bias(queries * sizeof(int32_t));
  const ScanQueries scanned{queries, spec.groups(), tables.data(), y8.as<int8_t>(), bias.as<int32_t>()};
  Buffer y16 =
      random_bytes(std::max(y16_stride(dims) * sizeof(int16_t), entries16_bytes(bits_stride(code_bytes))), 0x03);
  split_entries16(y16.as<int16_t>(), bits_stride(code_bytes));
  const int32_t total = std::accumulate(y16.as<int16_t>(), y16.as<int16_t>() + bits_stride(code_bytes), 0);
  const Buffer bits = random_bytes(bits_stride(code_bytes), 0x07);
  Buffer expanded =
      random_bytes(kExpandedBlocks * expanded_bytes(spec.groups()), static_cast<uint8_t>((1u << planes) - 1));
  const uint32_t size = kernel == "gemm" || kernel == "project" ? dims : 1;
  const Buffer weights(size_t{dims} * size * sizeof(float)), biases(size * sizeof(float));
  Buffer floats_in(rows * size * sizeof(float));
  std::fill_n(floats_in.as<float>(), rows * size, 1.0f);  // vectors of zeros are told apart
  const Dense layer({weights.as<float>(), biases.as<float>(), size, size});
  const Projection projection(weights.as<float>(), size, size);
  Buffer floats_out(rows * layer.out_stride() * sizeof(float));
  std::vector<uint32_t> order(256);
  std::vector<uint8_t> tails;
  std::vector<uint16_t> places;
  std::vector<float> descent;
  Buffer sums(std::max<size_t>({queries * kChunkBlocks * kBlockRows, 32 * kChunkBlocks, 512}) * sizeof(int32_t));
  int32_t* out = sums.as<int32_t>();

  volatile uint64_t sink = 0;
  const auto over_rows = [&](const std::function<void(size_t n)>& call) {
    for (size_t i = 0; i < view.rows; i += order.size()) {
      const size_t n = std::min(order.size(), view.rows - i);
      std::iota(order.begin(), order.end(), static_cast<uint32_t>(i));
      call(n);
    }
  };
  std::function<void()> pass;
  if (scan) {
    if (kernel == "scan_table" && queries > 8) fail(ErrorCode::InvalidArgument, "scan_table takes 1 to 8 queries");
    const auto scanner = kernel == "scan_table" ? k.scan_table : k.scan_batch;
    pass = [&, scanner] {
      for (size_t b = 0; b < blocks; b += kChunkBlocks)
        scanner(codes.data() + b * block_bytes(spec), std::min(kChunkBlocks, blocks - b), scanned, out,
                kChunkBlocks * kBlockRows);
    };
  } else if (kernel == "complete") {
    pass = [&] {
      over_rows([&](size_t n) { k.complete(view, y16.as<int16_t>(), {0, spec.planes, 0}, order.data(), n, out); });
    };
  } else if (kernel == "dot_digits" && k.dot_digits != nullptr) {
    if (planes != 4 || code_bytes > 64 * DigitOrder::kSources)
      fail(ErrorCode::InvalidArgument, "dot_digits takes four planes, and codes of 256 bytes at most");
    const auto digits = std::make_shared<Digits>(spec);
    pass = [&, digits] {
      over_rows([&](size_t n) {
        k.dot_digits(codes.data(), row_bytes, digits->order, y16.as<int16_t>(), total, order.data(), n, out);
      });
    };
  } else if (kernel == "dot_bits16" || kernel == "dot_digits") {
    pass = [&] {
      over_rows([&](size_t n) {
        k.dot_bits16(codes.data(), row_bytes, code_bytes, bits.data(), y16.as<int16_t>(), total, order.data(), n, out);
      });
    };
  } else if (kernel == "dot_bits8") {
    if (code_bytes > 64) fail(ErrorCode::InvalidArgument, "dot_bits8 takes codes of 64 bytes at most");
    pass = [&] {
      over_rows([&](size_t n) {
        k.dot_bits8(codes.data(), row_bytes, code_bytes, y8.as<int8_t>(), total, order.data(), n, out);
      });
    };
  } else if (kernel == "dot_int8") {  // a row is a code's bytes
    pass = [&] {
      over_rows([&](size_t n) { k.dot_int8(codes.as<int8_t>(), codes.as<int8_t>(), row_bytes, order.data(), n, out); });
    };
  } else if (kernel == "raw_dot_i8") {  // so is it here
    pass = [&] {
      over_rows([&](size_t n) {
        k.raw_dot_i8(y16.as<int16_t>(), code_bytes, codes.data(), row_bytes, order.data(), n, out, out + order.size());
      });
    };
  } else if (kernel == "raw_dot_f16" || kernel == "raw_l2_f16") {  // two bytes an entry
    const auto scorer = kernel == "raw_dot_f16" ? k.raw_dot_f16 : k.raw_l2_f16;
    pass = [&, scorer] {
      over_rows([&](size_t n) {
        scorer(weights.as<float>(), code_bytes / 2, codes.data(), row_bytes, order.data(), n, sums.as<float>());
      });
    };
  } else if (kernel == "select" || kernel == "select_few") {  // a search keeps few rows; here none
    const auto* factors = reinterpret_cast<const uint8_t*>(out + order.size());
    const size_t some = kernel == "select" ? order.size() : 32;  // as many as a graph's node has neighbours
    pass = [&, factors, some] {
      for (size_t i = 0; i < view.rows; i += some)
        k.select(out, std::min(some, view.rows - i), factors, {}, Factor::Mul, nullptr, 0, 1,
                 std::numeric_limits<float>::infinity(), 0, order.data(), floats_out.as<float>());
    };
  } else if (kernel == "expand") {
    pass = [&] {
      for (size_t b = 0; b < view.rows / kBlockRows; ++b) k.expand(view, b, 1, spec.groups(), expanded.data());
    };
  } else if (kernel == "dot_expanded") {
    pass = [&] {
      for (size_t b = 0; b < view.rows / kBlockRows; b += kExpandedBlocks)
        k.dot_expanded(expanded.data(), std::min(kExpandedBlocks, view.rows / kBlockRows - b), spec.groups(),
                       y8.as<int8_t>(), queries, out, kExpandedBlocks * kBlockRows);
    };
  } else if (kernel == "expand_tail" || kernel == "dot_tail") {  // the second half of the tiles
    const uint32_t tiles = (spec.groups() + 7) / 8, tile = tiles / 2;
    const size_t bytes = size_t{64} * (tiles - tile);
    tails.resize(order.size() * bytes);
    pass = [&, tile, bytes] {
      over_rows([&](size_t n) {
        if (kernel == "expand_tail")
          k.expand_tail(view, tile, order.data(), n, order[0], tails.data());
        else
          k.dot_tail(tails.data(), bytes, y8.as<int8_t>(), order.data(), n, order[0], out);
      });
    };
  } else if (kernel == "gemm") {  // from dims to dims
    pass = [&] { layer.forward(k, floats_in.as<float>(), rows, dims, false, false, floats_out.as<float>()); };
  } else if (kernel == "project") {  // so does this
    pass = [&] { projection.forward(k, floats_in.as<float>(), rows, floats_out.as<float>(), layer.out_stride()); };
  } else if (kernel == "permute") {
    places.resize(code_bytes);
    for (uint32_t i = 0; i < code_bytes; ++i) places[i] = static_cast<uint16_t>(code_bytes - 1 - i);
    pass = [&] {
      for (size_t i = 0; i < view.rows; ++i)
        k.permute(codes.data() + i * row_bytes, places.data(), code_bytes, expanded.data());
    };
  } else if (kernel == "descend" || kernel == "descent_follow" || kernel == "descent_energy") {
    // Entries as beyond a grid's dims: none of them moves.
    const size_t stride = descent_stride(dims);
    descent.resize(5 * stride);
    std::fill_n(descent.data(), stride, 1.0f);               // v, and z
    std::fill_n(descent.data() + stride, stride, 2.0f);      // steps
    std::fill_n(descent.data() + 2 * stride, stride, 0.5f);  // of one
    float *v = descent.data(), *g = v + 3 * stride;
    const DescentGrid grid{dims, stride, nullptr, v + 4 * stride, v + stride, v + 2 * stride};
    pass = [&, stride, v, g, grid] {
      for (size_t i = 0; i < view.rows; ++i) {
        if (kernel == "descend")
          k.descend(grid, 1, v, g, stride, 2);
        else if (kernel == "descent_follow")
          k.descent_follow(v, 0.5f, stride, g);
        else
          sums.as<float>()[0] = k.descent_energy(v, v, g, dims);
      }
    };
  } else if (kernel == "lut_sdc") {
    const size_t paper_blocks = rows / kPaperBlockRows;
    pass = [&, paper_blocks] {
      for (size_t b = 0; b < paper_blocks; b += kChunkBlocks)
        paper.lut_sdc(codes.data() + b * kPaperBlockRows * row_bytes, std::min(kChunkBlocks, paper_blocks - b),
                      paper_code_bytes(spec), codes.data(), out);
    };
  } else if (kernel == "popcount_sdc") {
    pass = [&] {
      for (size_t i = 0; i < rows; i += 256)
        paper.popcount_sdc(codes.data(), codes.data() + i * row_bytes, std::min<size_t>(256, rows - i), dims / 8,
                           planes, out);
    };
  } else if (kernel == "read") {
    pass = [&] { sink = sink + read_all(codes.data(), rows * row_bytes); };
  } else {
    fail(ErrorCode::InvalidArgument, "no kernel '" + kernel + "' to time");
  }

  pass();  // touches every page, wakes the wide units
  std::vector<double> seconds;
  for (size_t i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return seconds;
}

}  // namespace bebr
