// select and complete: the specification against its own definition, and every bundle against the
// specification.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/half.h"
#include "check.h"
#include "code/planes.h"

namespace bebr::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Selected {
  size_t count;
  std::vector<uint32_t> rows;
  std::vector<float> scores;
};

struct SelectCase {
  const Exact<int32_t>& sums;
  const Exact<uint8_t>& factors;
  FactorCode code;
  const Exact<uint16_t>& mask;
  Factor mode;
  bool masked;
  float base, scale, threshold;
};

Selected select(const Kernels& tested, const SelectCase& c) {
  const size_t rows = c.sums.size(), room = round_up(rows, 16);
  Exact<uint32_t> kept_rows(room);
  Exact<float> kept_scores(room);
  const uint8_t* factors = c.mode == Factor::None ? nullptr : c.factors.data();
  const size_t count = tested.select(c.sums.data(), rows, factors, c.code, c.mode, c.masked ? c.mask.data() : nullptr,
                                     c.base, c.scale, c.threshold, 1000, kept_rows.data(), kept_scores.data());
  CHECK(count <= rows, "kept " << count << " of " << rows);
  return {count, {kept_rows.data(), kept_rows.data() + count}, {kept_scores.data(), kept_scores.data() + count}};
}

// Any fp16 pattern: normal, subnormal, infinite, NaN.
uint16_t any_half(Random& random) {
  constexpr uint16_t kSpecial[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0x7bff};
  return below(random, 4) == 0 ? kSpecial[below(random, 9)] : static_cast<uint16_t>(random());
}

int32_t any_sum(Random& random) {
  constexpr int32_t kSpecial[] = {
      0, 1, -1, 65024, -65024, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()};
  return below(random, 8) == 0 ? kSpecial[below(random, 7)] : static_cast<int32_t>(below(random, 20001)) - 10000;
}

BEBR_TEST(scalar_select_by_hand) {
  Exact<int32_t> sums(4);
  Exact<uint8_t> factors(16);
  Exact<uint16_t> mask(1);
  for (size_t i = 0; i < 4; ++i) sums[i] = static_cast<int32_t>(i) * 10;
  const float stored[] = {2, 2, 2, -1};
  std::memcpy(factors.data(), stored, sizeof stored);
  const FactorCode code = FactorCode::make(4, 0, 0);
  mask[0] = 0b1101;
  const Selected mul = select(kernels(Isa::Scalar), {
                                                        sums,
                                                        factors,
                                                        code,
                                                        mask,
                                                        Factor::Mul,
                                                        false,
                                                        1,
                                                        0.5f,
                                                        2,
                                                    });
  CHECK((mul.rows == std::vector<uint32_t>{1001, 1002}), mul.count);
  CHECK((mul.scores == std::vector<float>{12, 22}), mul.count);
  const Selected sub = select(kernels(Isa::Scalar), {sums, factors, code, mask, Factor::Sub, true, 1, 0.5f, -1});
  CHECK((sub.rows == std::vector<uint32_t>{1002, 1003}), sub.count);  // row 0 scores -1, not above the threshold
  CHECK((sub.scores == std::vector<float>{9, 17}), sub.count);
  const Selected none =
      select(kernels(Isa::Scalar), {sums, factors, code, mask, Factor::None, true, 1, 0.5f, -kInfinity});
  CHECK((none.rows == std::vector<uint32_t>{1000, 1002, 1003}), none.count);
}

BEBR_TEST(one_byte_stands_for_an_fp16_pattern) {
  const FactorCode code = FactorCode::make(1, 0x3c00, 4);  // one binade, 1 to just below 2, in 256 equal steps
  for (uint32_t b = 0; b < 256; ++b) {
    const uint8_t stored[sizeof(float)] = {static_cast<uint8_t>(b)};  // g++ 12 sees reads of more bytes than one
    CHECK(code.value(stored) == 1 + static_cast<float>(b) / 256, "byte " << b << " is " << code.value(stored));
  }
  for (const auto& [low, step] : {std::pair{0u, 0u}, {0u, 125u}, {0x7c00u - 255, 1u}, {0x10000u, 1u}}) {
    bool refused = false;
    try {
      FactorCode::make(1, low, step);
    } catch (const Error&) {
      refused = true;
    }
    CHECK(refused, "low " << low << ", step " << step);
  }
  const uint8_t all[sizeof(float)] = {255};
  CHECK(FactorCode::make(1, 0x7c00 - 256, 1).value(all) == half_to_float(0x7bff), "the largest fp16");
}

BEBR_KERNEL_TEST(select_equals_scalar) {
  Random random(10);
  const FactorCode codes[] = {FactorCode::make(2, 0, 0), FactorCode::make(4, 0, 0), FactorCode::make(1, 0x3c00, 4),
                              FactorCode::make(1, 0, 124), FactorCode::make(1, 0x7c00 - 256, 1)};
  for (size_t rows = 0; rows <= 100; ++rows) {
    for (const Factor mode : {Factor::None, Factor::Mul, Factor::Sub}) {
      for (const bool masked : {false, true}) {
        Exact<int32_t> sums(rows);
        const FactorCode code = codes[below(random, 5)];
        Exact<uint8_t> factors(rows * code.bytes);
        Exact<uint16_t> mask((rows + 15) / 16);
        for (size_t i = 0; i < rows; ++i) sums[i] = any_sum(random);
        for (size_t i = 0; i < rows; ++i) {
          const uint16_t half = any_half(random);
          const float value = half_to_float(half) * 1.7f;
          const void* any = code.bytes == 4 ? static_cast<const void*>(&value) : &half;
          std::memcpy(factors.data() + i * code.bytes, any, code.bytes);
        }
        for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint16_t>(below(random, 3) == 0 ? 0 : random());
        const float scale = std::vector<float>{1, 0.0371f, -3.3e-3f, 1e-42f, 1e38f, 0}[below(random, 6)];
        for (const float threshold : {-kInfinity, 0.0f, -0.37f, 12.5f, kInfinity, kNan}) {
          const SelectCase c{sums, factors, code, mask, mode, masked, 0.123f, scale, threshold};
          const Selected got = select(tested, c), want = select(kernels(Isa::Scalar), c);
          CHECK(got.count == want.count, "rows " << rows << ", got " << got.count << ", want " << want.count);
          CHECK_SAME(got.rows.data(), want.rows.data(), got.count, "rows " << rows);
          CHECK_SAME(got.scores.data(), want.scores.data(), got.count, "rows " << rows << ", threshold " << threshold);
        }
      }
    }
  }
}

// A bundle may write some rows of a group before it knows whether they are kept.
BEBR_KERNEL_TEST(select_of_few_rows) {
  Random random(12);
  const FactorCode code = FactorCode::make(4, 0, 0);
  const Exact<uint8_t> factors(0);
  for (const size_t rows : {63, 64, 65, 128, 200}) {
    for (size_t few = 0; few <= 5; ++few) {
      for (const bool masked : {false, true}) {
        Exact<int32_t> sums(rows);
        Exact<uint16_t> mask((rows + 15) / 16);
        for (size_t i = 0; i < rows; ++i) sums[i] = static_cast<int32_t>(below(random, 50));
        const auto last = static_cast<uint32_t>(few % 2 == 0 ? rows : 64);  // all of them, or those of the first group
        for (size_t i = 0; i < few; ++i) sums[std::min<size_t>(rows - 1, below(random, last))] = 100;
        for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint16_t>(random());
        const SelectCase c{sums, factors, code, mask, Factor::None, masked, 0, 1, 99};
        const Selected got = select(tested, c), want = select(kernels(Isa::Scalar), c);
        CHECK(got.count == want.count && want.count <= few, "rows " << rows << ", got " << got.count);
        CHECK_SAME(got.rows.data(), want.rows.data(), got.count, "rows " << rows << ", kept " << few);
        CHECK_SAME(got.scores.data(), want.scores.data(), got.count, "rows " << rows << ", kept " << few);
      }
    }
  }
}

// Random non-increasing widths, or uniform ones.
CodeSpec make_spec(Random& random, uint32_t dims, uint32_t planes, bool ragged) {
  std::vector<uint32_t> widths(planes, dims);
  for (uint32_t t = 1; t < planes && ragged; ++t) widths[t] = 8 * (1 + below(random, widths[t - 1] / 8));
  return CodeSpec::make(widths);
}

// y16 up to the bound of kernels.h. kind: 0 random, 1 the largest allowed everywhere, 2 the smallest.
Exact<int16_t> make_y16(Random& random, const CodeSpec& spec, int kind) {
  const uint32_t bound = 2147483647u / ((1u << spec.planes) - 1) / spec.dims();
  const int32_t most = static_cast<int32_t>(std::min(bound, 32767u)), least = bound > 32767 ? -32768 : -most;
  Exact<int16_t> y16(y16_stride(spec.dims()));
  for (uint32_t j = 0; j < spec.dims(); ++j) {
    const int32_t any = static_cast<int32_t>(below(random, static_cast<uint32_t>(most - least + 1))) + least;
    y16[j] = static_cast<int16_t>(kind == 0 ? any : kind == 1 ? most : least);
  }
  return y16;
}

struct ScoreCase {
  CodeSpec spec;
  size_t rows;
  int kind;
};

std::ostream& operator<<(std::ostream& out, const ScoreCase& c) {
  out << "rows " << c.rows << ", kind " << c.kind << ", widths";
  for (uint32_t t = 0; t < c.spec.planes; ++t) out << ' ' << c.spec.widths[t];
  return out;
}

PlaneRange ones_of(const CodeSpec& spec, const Exact<int16_t>& y16, uint32_t first, uint32_t last) {
  PlaneRange range{first, last, 0};
  for (uint32_t t = first; t < last; ++t)
    for (uint32_t j = 0; j < spec.widths[t]; ++j) range.ones += y16[j] * (1 << (spec.planes - 1 - t));
  return range;
}

// Scores every row, and some twice.
void compare(const Kernels& tested, Random& random, const ScoreCase& c) {
  const CodeSpec& spec = c.spec;
  const Exact<uint8_t> rows = make_bytes(random, c.rows * spec.row_bytes(), static_cast<int>(below(random, 4)));
  Exact<uint8_t> blocks(block_count(c.rows) * block_bytes(spec)), rest(c.rows * spec.rest_bytes());
  for (size_t i = 0; i < c.rows; ++i) put_row(spec, rows.data() + i * spec.row_bytes(), i, blocks.data(), rest.data());
  const ScanView view{spec, blocks.data(), rest.data(), c.rows};
  const Exact<int16_t> y16 = make_y16(random, spec, c.kind);
  Exact<uint32_t> picked(c.rows + 7);
  for (size_t i = 0; i < picked.size(); ++i)
    picked[i] = i < c.rows ? static_cast<uint32_t>(i) : below(random, static_cast<uint32_t>(c.rows));
  const size_t count = picked.size();
  Exact<int32_t> want(count), got(count);
  const uint32_t first = below(random, spec.planes), last = first + 1 + below(random, spec.planes - first);
  for (const PlaneRange& range : {ones_of(spec, y16, first, last), ones_of(spec, y16, 0, spec.planes)}) {
    kernels(Isa::Scalar).complete(view, y16.data(), range, picked.data(), count, want.data());
    tested.complete(view, y16.data(), range, picked.data(), count, got.data());
    CHECK_SAME(got.data(), want.data(), count, "complete, planes " << range.first << " to " << range.last << ", " << c);
  }
}

BEBR_TEST(scalar_complete_is_the_dot_product_of_values) {
  Random random(11);
  for (uint32_t planes = 1; planes <= 8; ++planes) {
    const CodeSpec spec = make_spec(random, 40, planes, true);
    const Exact<uint8_t> row = make_bytes(random, spec.row_bytes(), 0);
    const Exact<int16_t> y16 = make_y16(random, spec, 0);
    std::vector<float> v(spec.dims());
    unpack_row(spec, row.data(), v.data());
    double want = 0;
    for (uint32_t j = 0; j < spec.dims(); ++j) want += static_cast<double>(y16[j]) * v[j] * (1 << (planes - 1));
    const uint32_t first = 0;
    int32_t got = 0;
    Exact<uint8_t> block(block_bytes(spec)), rest(spec.rest_bytes());
    put_row(spec, row.data(), first, block.data(), rest.data());
    kernels(Isa::Scalar).complete({spec, block.data(), rest.data(), 1}, y16.data(), {0, planes, 0}, &first, 1, &got);
    CHECK(got == want, "planes " << planes << ", got " << got << ", want " << want);
  }
}

BEBR_KERNEL_TEST(complete_equals_scalar) {
  Random random(12);
  for (const uint32_t dims : {8u, 16u, 24u, 40u, 64u, 120u, 384u, 520u, 2056u, 4096u}) {
    for (uint32_t planes = 1; planes <= 8; ++planes) {
      for (const int kind : {0, 1, 2})
        compare(tested, random,
                {make_spec(random, dims, planes, kind == 0 || below(random, 2) == 0),
                 1 + below(random, dims > 1000 ? 20 : 40), kind});
    }
  }
}

BEBR_KERNEL_TEST(complete_any_row_count) {
  Random random(13);
  for (size_t rows = 1; rows <= 100; ++rows)
    compare(tested, random, {make_spec(random, 8 * (1 + below(random, 20)), 1 + below(random, 4), true), rows, 0});
}

}  // namespace
}  // namespace bebr::test
