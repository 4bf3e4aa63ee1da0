// Kernels of a graph's walk and links: the specification by hand, and every bundle against the specification.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "index/graph/candidates.h"
#include "index/graph/record.h"

namespace bebr::test {
namespace {

// kind: 0 random, 1 the largest everywhere, 2 the smallest.
template <typename Entry>
Exact<Entry> make_entries(Random& random, size_t used, size_t padded, int kind, int32_t most) {
  Exact<Entry> entries(padded);
  for (size_t i = 0; i < used; ++i) {
    const int32_t any = static_cast<int32_t>(below(random, static_cast<uint32_t>(2 * most + 1))) - most;
    entries[i] = static_cast<Entry>(kind == 0 ? any : kind == 1 ? most : -most);
  }
  return entries;
}

template <typename Entry>
int32_t total(const Exact<Entry>& entries) {
  int32_t sum = 0;
  for (size_t i = 0; i < entries.size(); ++i) sum += entries[i];
  return sum;
}

// The same entries before their halves.
Exact<int16_t> with_halves(const Exact<int16_t>& entries) {
  Exact<int16_t> both(2 * entries.size());
  std::copy_n(entries.data(), entries.size(), both.data());
  split_entries16(both.data(), entries.size());
  return both;
}

Exact<uint32_t> pick(Random& random, size_t count, uint32_t rows) {
  Exact<uint32_t> picked(count);
  for (size_t i = 0; i < count; ++i) picked[i] = below(random, rows);
  return picked;
}

BEBR_TEST(scalar_graph_kernels_by_hand) {
  const Kernels& scalar = kernels(Isa::Scalar);
  const uint8_t data[] = {0b00000001, 0xff, 0b10000000, 0};  // rows of 2 bytes
  const uint32_t rows[] = {1, 0};
  int8_t y8[64] = {1, 2, 3, 4, 5, 6, 7, -8};
  y8[15] = 100;
  int16_t y16[128];
  for (int i = 0; i < 64; ++i) y16[i] = static_cast<int16_t>(300 * y8[i]);
  split_entries16(y16, 64);
  const auto *low = reinterpret_cast<const int8_t*>(y16 + 64), *high = low + 64;
  for (int i = 0; i < 64; ++i) CHECK(low[i] + 256 * high[i] == y16[i], i << ": " << y16[i]);
  int32_t got[2];
  scalar.dot_bits8(data, 2, 2, y8, 120, rows, 2, got);
  CHECK(got[0] == -28 - 8 - 100 && got[1] == 1 - 19 + 100, got[0] << ", " << got[1]);
  uint8_t weights[64] = {};
  for (int i = 0; i < 16; ++i) weights[i] = i < 8 ? 4 : 1;
  scalar.dot_bits16(data, 2, 2, weights, y16, 300 * 180, rows, 2, got);
  CHECK(got[0] == 300 * (4 * (-28 - 8) - 100) && got[1] == 300 * (4 * (1 - 19) + 100), got[0] << ", " << got[1]);
  int8_t a[64] = {2, -3}, b[128] = {};
  b[0] = 10;
  b[1] = 1;
  b[64] = -127;
  scalar.dot_int8(a, b, 64, rows, 2, got);
  CHECK(got[0] == -254 && got[1] == 17, got[0] << ", " << got[1]);
}

BEBR_KERNEL_TEST(dot_bits_equal_scalar) {
  Random random(20);
  for (uint32_t bytes : {1u,  2u,  3u,  4u,  5u,  6u,  7u,  8u,  9u,  12u, 15u, 16u,  17u,  23u,  31u,  33u,
                         48u, 55u, 57u, 60u, 61u, 63u, 64u, 65u, 66u, 67u, 71u, 127u, 194u, 195u, 511u, 4096u}) {
    for (const int kind : {0, 1, 2}) {
      const uint32_t count = below(random, bytes > 500 ? 4 : 20);
      const size_t stride = bytes + below(random, 5);
      const uint32_t rows = 1 + below(random, 9);
      const Exact<uint8_t> data =
          make_bytes(random, (rows - 1) * stride + bytes, kind == 0 ? 0 : static_cast<int>(below(random, 4)));
      const Exact<uint32_t> picked = pick(random, count, rows);
      Exact<int32_t> want(count), got(count);
      if (bytes <= 64) {
        const Exact<int8_t> y = make_entries<int8_t>(random, 8 * bytes, bits_stride(bytes), kind, 127);
        kernels(Isa::Scalar)
            .dot_bits8(data.data(), stride, bytes, y.data(), total(y), picked.data(), count, want.data());
        tested.dot_bits8(data.data(), stride, bytes, y.data(), total(y), picked.data(), count, got.data());
        CHECK_SAME(got.data(), want.data(), count, "dot_bits8, bytes " << bytes << ", kind " << kind);
      }
      const Exact<int16_t> y = make_entries<int16_t>(random, 8 * bytes, bits_stride(bytes), kind, kMostEntry16);
      const Exact<int16_t> both = with_halves(y);
      Exact<uint8_t> weights(bits_stride(bytes));
      int32_t sum = 0;
      for (size_t b = 0; b < 8 * bytes; ++b) {
        weights[b] = static_cast<uint8_t>(bytes > 1000 ? 1 : 1u << (kind == 0 ? below(random, 4) : 3));
        sum += weights[b] * y[b];
      }
      kernels(Isa::Scalar)
          .dot_bits16(data.data(), stride, bytes, weights.data(), both.data(), sum, picked.data(), count, want.data());
      tested.dot_bits16(data.data(), stride, bytes, weights.data(), both.data(), sum, picked.data(), count, got.data());
      CHECK_SAME(got.data(), want.data(), count, "dot_bits16, bytes " << bytes << ", kind " << kind);
    }
  }
}

// Bytes of units anywhere in a row; some units lack planes. The same sums by bits are the specification.
BEBR_KERNEL_TEST(digits_have_the_sums_of_their_bits) {
  if (tested.dot_digits == nullptr) return;
  Random random(23);
  for (const std::vector<uint32_t>& widths :
       std::vector<std::vector<uint32_t>>{{376, 376, 376, 376, 64},
                                          {64, 64, 64, 64, 64, 64, 64, 56},
                                          {384, 384},
                                          {64, 64, 64, 64},
                                          {128, 120, 104, 96, 8},
                                          {256, 256, 256, 256, 256, 256, 256, 216},
                                          {16, 16, 8}}) {
    for (const int kind : {0, 1, 2}) {
      const CodeSpec spec = CodeSpec::make(widths);
      std::vector<float> gram(spec.dims());
      for (float& value : gram) value = static_cast<float>(1 + below(random, 1000));
      const RecordLayout layout(spec, 2, 32, 0, gram);
      if (!layout.digits.by_kernel()) continue;
      const size_t n = layout.digits.entries(), bits = bits_stride(spec.row_bytes());
      Exact<int16_t> digits = make_entries<int16_t>(random, n, n, kind, kMostEntry16), y(bits);
      int32_t sum = 0;
      for (size_t b = 0; b < 8 * size_t{spec.row_bytes()}; ++b) {
        y[b] = digits[layout.digits.entry[b / 8] + b % 8];
        sum += layout.digits.bits[b] * y[b];
      }
      const Exact<int16_t> by_digit = with_halves(digits), by_bit = with_halves(y);
      const DigitOrder order = layout.digits.order();
      const size_t stride = order.bytes + below(random, 5);
      for (size_t count = 0; count < 10; ++count) {
        const Exact<uint8_t> data = make_bytes(random, 8 * stride + order.bytes, kind == 0 ? 0 : 1);
        const Exact<uint32_t> picked = pick(random, count, 9);
        Exact<int32_t> want(count), got(count);
        kernels(Isa::Scalar)
            .dot_bits16(data.data() + kCodeAt, stride, spec.row_bytes(), layout.digits.bits.data(), by_bit.data(), sum,
                        picked.data(), count, want.data());
        tested.dot_digits(data.data(), stride, order, by_digit.data(), sum, picked.data(), count, got.data());
        CHECK_SAME(got.data(), want.data(), count, widths.size() << " planes of " << widths[0] << ", kind " << kind);
      }
    }
  }
}

// Scores that are equal, missing (NaN) and the worst there is; lists longer than put_candidates takes, too.
BEBR_KERNEL_TEST(candidates_put_at_once_are_those_put_one_by_one) {
  Random random(61);
  for (const size_t limit : {1u, 15u, 16u, 17u, 31u, 33u, 63u, 64u, 65u, 80u, 81u, 96u, 97u, 128u, 129u}) {
    CandidateList list, plain;
    list.reset(limit);
    plain.reset(limit);
    uint32_t node = 0;
    for (uint32_t step = 0; step < 60; ++step) {
      const size_t count = below(random, 36);
      std::vector<float> scores(count);
      std::vector<uint32_t> nodes(count), inserted(count), want;
      for (size_t i = 0; i < count; ++i) {
        nodes[i] = node++;
        scores[i] = static_cast<float>(step + below(random, 40));
        if (below(random, 20) == 0) scores[i] = std::numeric_limits<float>::quiet_NaN();
        if (below(random, 20) == 0) scores[i] = kLowest;
        if (plain.insert(scores[i], nodes[i])) want.push_back(nodes[i]);
      }
      inserted.resize(list.insert(tested, scores.data(), nodes.data(), count, inserted.data()));
      CHECK(inserted == want, "limit " << limit << ", step " << step);
      CHECK(list.size() == plain.size() && list.threshold() == plain.threshold(), "limit " << limit);
      for (size_t i = 0; i < plain.size(); ++i)
        CHECK(list[i].node == plain[i].node && list[i].score == plain[i].score, "limit " << limit << ", at " << i);
      uint32_t taken = 0, taken_plain = 0;
      const bool more = list.take(taken);
      CHECK(more == plain.take(taken_plain) && taken == taken_plain, "limit " << limit << ", step " << step);
    }
  }
}

BEBR_KERNEL_TEST(dot_int8_equals_scalar) {
  Random random(21);
  for (const size_t dims : {64u, 128u, 192u, 384u, 4160u}) {
    for (const int kind : {0, 1, 2}) {
      const uint32_t rows = 1 + below(random, 5), count = below(random, 20);
      const Exact<int8_t> a = make_entries<int8_t>(random, dims, dims, kind, 127);
      const Exact<int8_t> data = make_entries<int8_t>(random, rows * dims, rows * dims, kind == 2 ? 1 : kind, 127);
      const Exact<uint32_t> picked = pick(random, count, rows);
      Exact<int32_t> want(count), got(count);
      kernels(Isa::Scalar).dot_int8(a.data(), data.data(), dims, picked.data(), count, want.data());
      tested.dot_int8(a.data(), data.data(), dims, picked.data(), count, got.data());
      CHECK_SAME(got.data(), want.data(), count, "dims " << dims << ", kind " << kind);
    }
  }
}

BEBR_KERNEL_TEST(permute_equals_scalar) {
  Random random(7);
  for (const size_t bytes : {1u, 8u, 31u, 32u, 33u, 63u, 64u, 65u, 100u, 128u, 129u, 200u, 255u, 256u, 257u, 400u}) {
    Exact<uint8_t> from(bytes), to(bytes), want(bytes);
    Exact<uint16_t> at(bytes);
    for (size_t i = 0; i < bytes; ++i) {
      from[i] = static_cast<uint8_t>(random());
      at[i] = static_cast<uint16_t>(random() % bytes);
    }
    kernels(Isa::Scalar).permute(from.data(), at.data(), bytes, want.data());
    tested.permute(from.data(), at.data(), bytes, to.data());
    CHECK_SAME(to.data(), want.data(), bytes, bytes << " bytes");
  }
}

// Every bit of a code, entry by entry. A query that was set up for another layout before leaves nothing behind.
BEBR_TEST(a_query_has_a_rounded_entry_for_every_bit) {
  Random random(22);
  BitQuery query;
  const std::vector<std::vector<uint32_t>> all = {{592, 440, 264, 136, 64}, {8}, {104}, {480}, {256, 256, 8},
                                                  {4096, 4096, 4096, 4096}};
  for (const std::vector<uint32_t>& widths : all) {
    for (const int kind : {0, 1, 2}) {  // any; few, so that many halves are rounded; nearly nothing
      const CodeSpec spec = CodeSpec::make(widths);
      std::vector<float> y(spec.dims()), gram(spec.dims());
      for (float& value : gram) value = static_cast<float>(1 + below(random, 1000));
      for (float& value : y) {
        value = static_cast<float>(below(random, 2000001)) / 1e6f - 1;
        if (kind == 1) value = static_cast<float>(below(random, 41)) / 8 - 2.5f;
        if (kind == 2) value *= 1e-31f;
      }
      const RecordLayout layout(spec, 2, 32, 0, gram);
      query.set(layout, y.data(), 0.5f, kernels(Isa::Scalar));
      const size_t bits = 8 * size_t{spec.row_bytes()}, seen = 8 * size_t{layout.prefix};
      int64_t total16 = 0, total8 = 0;
      double unseen = 0;
      for (size_t b = 0; b < bits; ++b) {
        const RecordLayout::Byte& byte = layout.order[b / 8];
        const float entry = std::ldexp(y[8 * byte.group + b % 8], -byte.plane);
        const int16_t got16 = query.y16.as<int16_t>()[b];
        const int weight = layout.digits.bits[b];
        CHECK(weight == 8 >> byte.plane % 4, "bit " << b << " of " << bits << ": " << weight);
        CHECK(got16 == std::lrint(entry / static_cast<float>(weight) / query.scale16),
              "bit " << b << " of " << bits << ", kind " << kind);
        total16 += weight * got16;
        if (b >= seen) {
          unseen += double{entry} * entry;
          continue;
        }
        const int8_t got8 = query.y8.as<int8_t>()[b];
        const double off = static_cast<double>(got8) - double{entry} / query.scale8;
        CHECK(std::fabs(off) < .5001, "bit " << b << ", kind " << kind << ": off by " << off);
        total8 += got8;
      }
      for (size_t b = bits; b < bits_stride(spec.row_bytes()); ++b) CHECK(query.y16.as<int16_t>()[b] == 0, b);
      for (size_t b = seen; b < bits_stride(layout.prefix); ++b) CHECK(query.y8.as<int8_t>()[b] == 0, b);
      CHECK(query.total16 == total16 && query.total8 == total8, total16 << " and " << total8);
      CHECK(std::fabs(query.spread - std::sqrt(unseen)) <= 1e-5 * std::sqrt(unseen) + 1e-18, query.spread);
      CHECK(query.base == 0.5f && query.scale16 <= 1, query.scale16);
    }
  }
}

// A few large values: bytes would round the others away, so the first line is read by 16-bit entries.
BEBR_KERNEL_TEST(first_lines_of_queries_with_a_few_large_values_keep_the_small_ones) {
  Random random(9);
  std::normal_distribution<float> normal;
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{592, 440, 264, 136, 64, 32, 16, 8});
  std::vector<float> y(spec.dims()), flat(spec.dims()), gram(spec.dims(), 1.0f);
  std::fill_n(gram.begin(), 8, 300.0f);  // so all of their bits are in the first line
  const RecordLayout layout(spec, 2, 32, 0, gram);
  for (uint32_t j = 0; j < spec.dims(); ++j) {
    flat[j] = normal(random);
    y[j] = flat[j] * (j < 8 ? 300.0f : 1.0f);
  }
  BitQuery query;
  query.set(layout, flat.data(), 0, tested);
  CHECK(!query.wide, "bytes do for values of a size");
  query.set(layout, y.data(), 0, tested);
  CHECK(query.wide, "bytes do not do for these");
  const size_t rows = 7;
  Exact<uint8_t> codes(rows * layout.prefix);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random());
  std::vector<uint32_t> all(rows);
  std::iota(all.begin(), all.end(), 0u);
  std::vector<int32_t> sums(rows);
  tested.dot_bits16(codes.data(), layout.prefix, layout.prefix, layout.digits.bits.data(), query.first16.as<int16_t>(),
                    query.total_first16, all.data(), rows, sums.data());
  for (size_t i = 0; i < rows; ++i) {
    double want = 0, size = 0;
    for (size_t b = 0; b < 8 * size_t{layout.prefix}; ++b) {
      const RecordLayout::Byte& byte = layout.order[b / 8];
      const double entry = std::ldexp(double{y[8 * byte.group + b % 8]}, -byte.plane);
      want += (codes[i * layout.prefix + b / 8] >> b % 8 & 1) != 0 ? entry : -entry;
      size += 0.5;
    }
    const double got = double{query.scale16} * sums[i];
    CHECK(std::fabs(got - want) <= size * double{query.scale16}, "row " << i << ": " << got << " for " << want);
  }
}

}  // namespace
}  // namespace bebr::test
