// expand and dot_expanded: the specification against the score that they stand for, every bundle against the
// specification.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/buffer.h"
#include "check.h"
#include "code/planes.h"
#include "index/byte_queries.h"
#include "index/query.h"
#include "queries.h"

namespace bebr::test {
namespace {

struct Codes {
  CodeSpec spec;
  Exact<uint8_t> blocks, rest;
  ScanView view;

  Codes(Random& random, const std::vector<uint32_t>& widths, size_t rows, int kind)
      : spec(CodeSpec::make(widths)),
        blocks(make_bytes(random, block_count(rows) * block_bytes(spec), kind)),
        rest(make_bytes(random, rows * spec.rest_bytes(), kind)),
        view{spec, blocks.data(), rest.data(), rows} {}
};

const std::vector<std::vector<uint32_t>> kWidths = {{8},         {24, 16, 8},        {64, 64},
                                                    {72, 72},    {384, 384, 320, 8}, {136, 128, 64, 40, 40, 24, 16, 8},
                                                    {520, 8},    {104, 96, 88},      {40, 40, 40, 40, 40, 40, 40, 40},
                                                    {4096, 4088}};

// 2 sum_j y8[j] u[j] - ones is what complete gives for the same query.
BEBR_TEST(scalar_expanded_product_is_the_score) {
  Random random(60);
  const Kernels& scalar = kernels(Isa::Scalar);
  for (const auto& widths : kWidths) {
    const Codes codes(random, widths, 21, 0);
    const uint32_t groups = codes.spec.groups();
    Exact<uint8_t> expanded(2 * expanded_bytes(groups));
    scalar.expand(codes.view, 0, 2, groups, expanded.data());
    const Exact<int8_t> y8 = any_queries(random, groups, 1);
    Exact<int32_t> sums(32), want(21);
    scalar.dot_expanded(expanded.data(), 2, groups, y8.data(), 1, sums.data(), 32);
    Exact<int16_t> y16(y16_stride(codes.spec.dims()));
    std::copy_n(y8.data(), codes.spec.dims(), y16.data());
    int32_t ones = 0;
    for (uint32_t t = 0; t < codes.spec.planes; ++t)
      for (uint32_t j = 0; j < codes.spec.widths[t]; ++j) ones += y8[j] * (1 << (codes.spec.planes - 1 - t));
    std::vector<uint32_t> rows(21);
    for (uint32_t i = 0; i < 21; ++i) rows[i] = i;
    scalar.complete(codes.view, y16.data(), {0, codes.spec.planes, ones}, rows.data(), 21, want.data());
    for (size_t i = 0; i < 21; ++i)
      CHECK(2 * sums[i] - ones == want[i], "dims " << codes.spec.dims() << ", row " << i << ", got " << sums[i]);
  }
}

BEBR_KERNEL_TEST(expand) {
  Random random(61);
  for (const auto& widths : kWidths) {
    for (const size_t rows : {1, 15, 16, 17, 40, 64}) {
      const Codes codes(random, widths, rows, static_cast<int>(below(random, 4)));
      const size_t all = block_count(rows), first = below(random, static_cast<uint32_t>(all));
      for (uint32_t groups = codes.spec.groups();; groups = 8 * below(random, groups / 8 + 1)) {
        const size_t bytes = (all - first) * expanded_bytes(groups);
        Exact<uint8_t> want(bytes), got(bytes);
        std::fill_n(got.data(), bytes, uint8_t{0xa5});
        kernels(Isa::Scalar).expand(codes.view, first, all - first, groups, want.data());
        tested.expand(codes.view, first, all - first, groups, got.data());
        CHECK_SAME(got.data(), want.data(), bytes,
                   "dims " << widths[0] << ", rows " << rows << ", first " << first << ", groups " << groups);
        if (groups == 0) break;
      }
    }
  }
}

// What a product with the leading tiles leaves out.
BEBR_KERNEL_TEST(expand_tail_and_dot_tail) {
  Random random(65);
  for (const auto& widths : kWidths) {
    const Codes codes(random, widths, 37, static_cast<int>(below(random, 4)));
    const uint32_t groups = codes.spec.groups(), tiles = (groups + 7) / 8;
    for (uint32_t tile = 0; tile <= tiles; tile += 1 + below(random, tiles / 4 + 1)) {
      const Exact<int8_t> y8 = any_queries(random, groups, 1);
      Exact<int8_t> tail((tiles - tile) * 64);
      std::copy_n(y8.data() + tile * 64, tail.size(), tail.data());
      Exact<uint32_t> rows(11);
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = i == 0 ? 36 : 7 + below(random, 30);
      const size_t bytes = tail.size();
      Exact<uint8_t> want_tails(30 * bytes), tails(30 * bytes);
      kernels(Isa::Scalar).expand_tail(codes.view, tile, rows.data(), rows.size(), 7, want_tails.data());
      tested.expand_tail(codes.view, tile, rows.data(), rows.size(), 7, tails.data());
      CHECK_SAME(tails.data(), want_tails.data(), tails.size(), "dims " << widths[0] << ", tile " << tile);
      Exact<int32_t> want(rows.size()), got(rows.size());
      for (size_t count = 0; count <= rows.size(); ++count) {
        kernels(Isa::Scalar).dot_tail(tails.data(), bytes, tail.data(), rows.data(), count, 7, want.data());
        tested.dot_tail(tails.data(), bytes, tail.data(), rows.data(), count, 7, got.data());
        CHECK_SAME(got.data(), want.data(), count, "dims " << widths[0] << ", tile " << tile);
      }
    }
  }
}

// Small entries may be added up in 16 bits.
BEBR_KERNEL_TEST(dot_tail_of_entries_and_bytes_of_any_size) {
  Random random(67);
  for (const int largest : {31, 32, 33, 64, 65, 127, 128}) {
    for (const int kind : {0, 1, 2}) {  // any; all the largest; all the smallest
      for (const size_t bytes : {0, 64, 192, 1024}) {
        Exact<int8_t> y8(bytes);
        for (size_t i = 0; i < bytes; ++i) {
          const int any = static_cast<int>(below(random, static_cast<uint32_t>(2 * largest))) - largest;
          y8[i] = static_cast<int8_t>(kind == 0 ? any : kind == 1 ? std::min(largest, 127) : -largest);
        }
        constexpr size_t kRows = 7;
        Exact<uint8_t> tails(13 * bytes);
        for (size_t i = 0; i < tails.size(); ++i) tails[i] = static_cast<uint8_t>(kind == 0 ? below(random, 256) : 255);
        Exact<uint32_t> rows(kRows);
        for (uint32_t i = 0; i < kRows; ++i) rows[i] = 17 - 2 * i;
        Exact<int32_t> want(kRows), got(kRows);
        kernels(Isa::Scalar).dot_tail(tails.data(), bytes, y8.data(), rows.data(), kRows, 5, want.data());
        tested.dot_tail(tails.data(), bytes, y8.data(), rows.data(), kRows, 5, got.data());
        CHECK_SAME(got.data(), want.data(), kRows, "largest " << largest << ", kind " << kind << ", bytes " << bytes);
      }
    }
  }
}

BEBR_TEST(scalar_leading_and_tail_products_are_the_whole) {
  Random random(66);
  const Kernels& scalar = kernels(Isa::Scalar);
  for (const auto& widths : kWidths) {
    const Codes codes(random, widths, 16, 0);
    const uint32_t groups = codes.spec.groups(), tile = groups / 16;
    const Exact<int8_t> y8 = any_queries(random, groups, 1);
    Exact<uint8_t> all(expanded_bytes(groups)), some(expanded_bytes(8 * tile));
    scalar.expand(codes.view, 0, 1, groups, all.data());
    scalar.expand(codes.view, 0, 1, 8 * tile, some.data());
    int32_t whole[16], leading[16], rest[16];
    uint32_t rows[16];
    std::iota(rows, rows + 16, 0u);
    scalar.dot_expanded(all.data(), 1, groups, y8.data(), 1, whole, 16);
    scalar.dot_expanded(some.data(), 1, 8 * tile, y8.data(), 1, leading, 16);
    const size_t bytes = y8_stride(groups) - 64 * size_t{tile};
    Exact<uint8_t> tails(16 * bytes);
    scalar.expand_tail(codes.view, tile, rows, 16, 0, tails.data());
    scalar.dot_tail(tails.data(), bytes, y8.data() + 64 * tile, rows, 16, 0, rest);
    for (int i = 0; i < 16; ++i) CHECK(leading[i] + rest[i] == whole[i], "dims " << widths[0] << ", row " << i);
  }
}

BEBR_KERNEL_TEST(dot_expanded) {
  Random random(62);
  for (uint32_t count = 0; count <= 40; ++count)
    for (const uint32_t groups : {1u, 3u, 8u, 9u, 48u})
      compare_products(tested, random, groups, count, below(random, 6));
  compare_products(tested, random, 512, 33, 3);
}

// A bundle may add products up in 16 bits for as long as they fit: entries and bytes of every size, of one sign and of
// both, over few and many dims.
BEBR_KERNEL_TEST(dot_expanded_of_entries_and_bytes_of_any_size) {
  Random random(64);
  for (const int largest : {1, 2, 5, 30, 64, 127}) {
    for (const int byte : {0, 1, 15, 63, 127, 255}) {
      for (const int kind : {0, 1, 2}) {  // any; all the largest; all the smallest
        const uint32_t groups = kind == 0 ? 1 + below(random, 60) : largest == 1 ? 300 : 48;
        const size_t count = 1 + below(random, 8), bytes = expanded_bytes(groups);
        Exact<uint8_t> expanded(2 * bytes);
        for (size_t i = 0; i < 2 * bytes; ++i)
          if (i % bytes < 128 * groups)
            expanded[i] = static_cast<uint8_t>(kind == 0 ? below(random, static_cast<uint32_t>(byte) + 1) : byte);
        Exact<int8_t> y8(count * y8_stride(groups));
        for (size_t i = 0; i < y8.size(); ++i) {
          const int any = static_cast<int>(below(random, static_cast<uint32_t>(2 * largest + 1))) - largest;
          if (i % y8_stride(groups) < 8 * groups)
            y8[i] = static_cast<int8_t>(kind == 0 ? any : kind == 1 ? largest : -largest);
        }
        Exact<int32_t> want(count * 32), got(count * 32);
        kernels(Isa::Scalar).dot_expanded(expanded.data(), 2, groups, y8.data(), count, want.data(), 32);
        tested.dot_expanded(expanded.data(), 2, groups, y8.data(), count, got.data(), 32);
        CHECK_SAME(got.data(), want.data(), count * 32,
                   "groups " << groups << ", queries " << count << ", entries to " << largest << ", bytes to " << byte
                             << ", kind " << kind);
      }
    }
  }
}

// base + scale * sums is <y, v> but for what bound says, and the first dims may be large: their copies bear it.
BEBR_TEST(byte_queries_round_within_their_bound_and_share_large_values_out) {
  Random random(63);
  const Kernels& scalar = kernels(Isa::Scalar);
  std::normal_distribution<float> normal;
  for (const auto& widths : kWidths) {
    for (const auto& [most, more] : {std::pair{kMostEntry8, 0u}, {31, 0u}, {kMostEntry8, 1u}}) {
      const size_t rows = 21, count = 5;
      const Codes codes(random, widths, rows, 0);
      const CodeSpec& spec = codes.spec;
      std::vector<float> y(count * spec.dims());
      for (size_t i = 0; i < y.size(); ++i) y[i] = normal(random) * (i % spec.dims() < 6 ? 60.0f : 1.0f);
      std::fill_n(y.begin(), spec.dims(), 0.0f);  // a query of nothing
      const ByteQueries queries = make_byte_queries(spec, y.data(), count, false, most, more);
      CHECK(queries.tiles() == (spec.groups() + 7) / 8 + more, "tiles");
      for (size_t i = 0; i < queries.y8.size(); ++i) CHECK(std::abs(queries.y8.as<int8_t>()[i]) <= most, "entry " << i);
      const uint32_t groups = spec.groups(), all = queries.all_groups();
      CHECK(all % 8 == 0 || (all == groups && queries.copied.empty()), "whole tiles");
      Exact<uint8_t> expanded(2 * expanded_bytes(all));
      for (size_t block = 0; block < 2; ++block)
        scalar.expand(codes.view, block, 1, groups, expanded.data() + block * expanded_bytes(all));
      queries.copy_quads(2, queries.tiles(), expanded.data());
      std::vector<int32_t> sums(count * 32);
      scalar.dot_expanded(expanded.data(), 2, all, queries.y8.as<int8_t>(), count, sums.data(), 32);
      std::vector<float> v(spec.dims());
      Exact<uint8_t> row(spec.row_bytes());
      for (size_t i = 0; i < rows; ++i) {
        get_row(codes.view, i, row.data());
        unpack_row(spec, row.data(), v.data());
        for (size_t q = 0; q < count; ++q) {
          double want = 0, size = 0;
          for (uint32_t j = 0; j < spec.dims(); ++j) {
            want += double{y[q * spec.dims() + j]} * double{v[j]};
            size += std::fabs(double{y[q * spec.dims() + j]}) * 2;
          }
          const double got = double{queries.base[q]} + double{queries.scale[q]} * sums[q * 32 + i];
          CHECK(std::fabs(got - want) <= double{queries.bound[q]} + 1e-6 * size,
                "dims " << spec.dims() << ", row " << i << ", query " << q << ": " << got << " for " << want);
        }
      }
      if (queries.copied.size() < 8) continue;  // with places to spare the step is less than half of what it would be
      for (size_t q = 1; q < count; ++q) {
        float largest = 0;
        for (uint32_t j = 0; j < spec.dims(); ++j) largest = std::max(largest, std::fabs(y[q * spec.dims() + j]));
        const double step = double{queries.scale[q]} * std::exp2(static_cast<int>(spec.planes) - 2);
        CHECK(step < double{largest} / most / 2, "dims " << spec.dims() << ", step " << step);
      }
    }
  }
}

}  // namespace
}  // namespace bebr::test
