// CodeSpec, the two layouts, fp16 conversion and Buffer.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/half.h"
#include "check.h"
#include "code/layout.h"
#include "code/planes.h"
#include "code/spec.h"

namespace bebr::test {
namespace {

BEBR_TEST(spec_counts_bytes) {
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{64, 24, 8});
  CHECK(spec.dims() == 64 && spec.groups() == 8 && spec.rest_bytes() == 4 && spec.row_bytes() == 12, spec.row_bytes());
  CHECK(spec.depth(0) == 3 && spec.depth(8) == 2 && spec.depth(24) == 1 && spec.depth(63) == 1, spec.depth(8));
}

BEBR_TEST(spec_names_the_plane_at_fault) {
  struct Bad {
    std::vector<uint32_t> widths;
    const char* named;
  };
  const Bad all[] = {{{}, "widths"},
                     {std::vector<uint32_t>(9, 8), "9 planes"},
                     {{12}, "widths[0]"},
                     {{0}, "widths[0]"},
                     {{4104}, "widths[0]"},
                     {{64, 72}, "widths[1]"},
                     {{64, 32, 20}, "widths[2]"},
                     {{64, 0}, "widths[1]"}};
  for (const Bad& bad : all) {
    std::string message;
    try {
      CodeSpec::make(bad.widths);
    } catch (const Error& error) {
      message = error.code() == ErrorCode::InvalidArgument ? error.what() : "wrong code";
    }
    CHECK(message.find(bad.named) != std::string::npos, "want " << bad.named << " in '" << message << "'");
  }
}

BEBR_TEST(unpack_weighs_planes_by_halves) {
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{16, 8});
  const uint8_t row[] = {0b00000101, 0b10000000, 0b00000001};
  float v[16];
  unpack_row(spec, row, v);
  CHECK(v[0] == 1.5f && v[1] == -1.5f && v[2] == 0.5f, v[0]);  // + +, - -, + -
  CHECK(v[8] == -1.0f && v[15] == 1.0f, v[8]);                 // one plane only
}

BEBR_TEST(layout_gives_back_rows) {
  Random random(30);
  for (const std::vector<uint32_t>& widths : {std::vector<uint32_t>{8}, {40, 40}, {384, 64, 8}}) {
    const CodeSpec spec = CodeSpec::make(widths);
    const size_t rows = 37, bytes = spec.row_bytes();
    const Exact<uint8_t> want = make_bytes(random, rows * bytes, 0);
    Exact<uint8_t> blocks(block_count(rows) * block_bytes(spec)), rest(rows * spec.rest_bytes()), got(rows * bytes);
    for (size_t i = rows; i-- > 0;) put_row(spec, want.data() + i * bytes, i, blocks.data(), rest.data());
    const ScanView view{spec, blocks.data(), rest.data(), rows};
    for (size_t i = 0; i < rows; ++i) get_row(view, i, got.data() + i * bytes);
    CHECK(first_difference(got.data(), want.data(), rows * bytes) == rows * bytes, "dims " << spec.dims());
    // The documented offset: row 19 is vector 3 of block 1, byte 0 is in its first quad.
    const size_t quad_bytes = spec.groups() < 4 ? spec.groups() : 4;
    CHECK(blocks[spec.groups() * 16 + 3 * quad_bytes] == want[19 * bytes], "byte 0 of row 19");
    // Some rows, in any order, behind three that are there.
    const std::vector<uint32_t> some = {36, 0, 17, 17, 5, 15, 16, 31, 32, 1, 2, 3, 20, 36};
    const size_t copied = 3 + some.size();
    Exact<uint8_t> to(block_count(copied) * block_bytes(spec)), to_rest(copied * spec.rest_bytes());
    copy_rows(view, some.data(), some.size(), 3, to.data(), to_rest.data());
    const ScanView copies{spec, to.data(), to_rest.data(), copied};
    for (size_t i = 0; i < some.size(); ++i) {
      get_row(copies, 3 + i, got.data());
      CHECK(first_difference(got.data(), want.data() + some[i] * bytes, bytes) == bytes, "copy " << i);
    }
  }
}

BEBR_TEST(half_to_float_is_exact) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const int exponent = static_cast<int>(h >> 10 & 31), mantissa = static_cast<int>(h & 1023);
    const float got = half_to_float(static_cast<uint16_t>(h));
    CHECK(std::signbit(got) == (h >= 32768), "half " << h);
    if (exponent == 31) {
      CHECK(mantissa == 0 ? std::isinf(got) : std::isnan(got), "half " << h);
      continue;
    }
    const float want = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                     : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    CHECK(std::fabs(got) == want, "half " << h);
    CHECK(float_to_half(got) == h, "half " << h << " there and back");
  }
}

// The value half way between two neighbours goes to the even one; a little more or less goes to the nearer one.
BEBR_TEST(float_to_half_rounds_to_nearest_even) {
  for (uint16_t h = 0; h < 0x7bff; ++h) {
    const float low = half_to_float(h), high = half_to_float(static_cast<uint16_t>(h + 1)), middle = (low + high) / 2;
    CHECK(float_to_half(middle) == h + h % 2, "half " << h);
    CHECK(float_to_half(std::nextafter(middle, low)) == h, "half " << h);
    CHECK(float_to_half(-std::nextafter(middle, high)) == (0x8000 | (h + 1)), "half " << h);
  }
  CHECK(float_to_half(65519.0f) == 0x7bff && float_to_half(65520.0f) == 0x7c00 && float_to_half(1e30f) == 0x7c00,
        "largest");
  CHECK(
      float_to_half(0x1p-25f) == 0 && float_to_half(std::nextafter(0x1p-25f, 1.0f)) == 1 && float_to_half(1e-40f) == 0,
      "smallest");
  CHECK(std::isnan(half_to_float(float_to_half(std::nanf("")))), "NaN stays NaN");
}

#if defined(__x86_64__)
__attribute__((target("f16c"))) void compare_with_f16c() {
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint32_t got = std::bit_cast<uint32_t>(half_to_float(static_cast<uint16_t>(h)));
    CHECK(got == std::bit_cast<uint32_t>(_cvtsh_ss(static_cast<uint16_t>(h))), "half " << h);
  }
  Random random(31);
  for (int i = 0; i < 1000000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    CHECK(float_to_half(value) == _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT), value);
  }
}

BEBR_TEST(half_equals_the_instruction) {
  if (__builtin_cpu_supports("f16c")) compare_with_f16c();
}
#endif

BEBR_TEST(buffer_grows_and_stays_aligned) {
  Buffer buffer(3);
  buffer.data()[2] = 7;
  for (size_t size = 4; size < 5000; size = size * 3 / 2 + 1) {
    buffer.resize(size);
    CHECK(buffer.size() == size && buffer.capacity() >= size, size);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment == 0, size);
    CHECK(buffer.data()[2] == 7 && buffer.data()[size - 1] == 0, size);
  }
  buffer.resize(1);
  buffer.resize(8);
  CHECK(buffer.data()[2] == 0, "bytes given up and taken again are zero");
  Buffer moved(std::move(buffer));
  CHECK(moved.size() == 8 && buffer.size() == 0 && buffer.data() == nullptr, moved.size());
}

}  // namespace
}  // namespace bebr::test
