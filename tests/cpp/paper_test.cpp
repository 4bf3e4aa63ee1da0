// The paper's two kernels: both give 4^(planes-1) <q, d>, by different roads.
#include "bench/paper.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "bench/baselines.h"
#include "bench/time_kernel.h"
#include "check.h"
#include "code/planes.h"

namespace bebr::test {
namespace {

CodeSpec uniform(uint32_t dims, uint32_t planes) { return CodeSpec::make(std::vector<uint32_t>(planes, dims)); }

std::string name(const CodeSpec& spec, size_t rows) {
  return std::to_string(spec.planes) + " planes of " + std::to_string(spec.dims()) + ", rows " + std::to_string(rows);
}

BEBR_TEST(scalar_popcount_sdc_is_the_dot_product) {
  Random random(20);
  for (uint32_t planes = 1; planes <= 8; ++planes) {
    const CodeSpec spec = uniform(72, planes);
    const Exact<uint8_t> query = make_bytes(random, spec.row_bytes(), 0), row = make_bytes(random, spec.row_bytes(), 0);
    std::vector<float> q(72), d(72);
    unpack_row(spec, query.data(), q.data());
    unpack_row(spec, row.data(), d.data());
    double want = 0;
    for (size_t j = 0; j < 72; ++j) want += static_cast<double>(q[j]) * d[j] * (1 << 2 * (planes - 1));
    int32_t got = 0;
    baselines(Isa::Scalar).popcount_sdc(query.data(), row.data(), 1, 9, planes, &got);
    CHECK(got == want, "planes " << planes << ", got " << got << ", want " << want);
  }
}

BEBR_KERNEL_TEST(popcount_sdc_equals_scalar) {
  Random random(21);
  for (const uint32_t dims : {8u, 64u, 120u, 384u, 512u, 520u, 1032u, 4096u}) {
    for (uint32_t planes = 1; planes <= 8; ++planes) {
      const CodeSpec spec = uniform(dims, planes);
      const size_t count = dims > 1000 ? 3 : 1 + below(random, 20);
      const Exact<uint8_t> query = make_bytes(random, spec.row_bytes(), static_cast<int>(below(random, 4)));
      const Exact<uint8_t> rows = make_bytes(random, count * spec.row_bytes(), static_cast<int>(below(random, 4)));
      Exact<int32_t> got(count), want(count);
      baselines(Isa::Scalar).popcount_sdc(query.data(), rows.data(), count, dims / 8, planes, want.data());
      baselines(tested.isa).popcount_sdc(query.data(), rows.data(), count, dims / 8, planes, got.data());
      CHECK_SAME(got.data(), want.data(), count, name(spec, count));
    }
  }
}

// The table's sums, decoded, are the bitwise form's integers: every bundle, also past 257 entries of 255 (16 bits).
BEBR_KERNEL_TEST(lut_sdc_equals_popcount_sdc) {
  Random random(22);
  for (const uint32_t planes : {2u, 4u}) {
    for (const uint32_t dims : {8u, 24u, 40u, 120u, 256u, 384u, 520u, 1032u, 2056u, 4096u}) {
      for (const int kind : {0, 1, 2}) {  // random; opposite extremes; the same extreme
        const CodeSpec spec = uniform(dims, planes);
        const size_t count = dims > 1000 ? 33 : 1 + below(random, 100),
                     blocks = (count + kPaperBlockRows - 1) / kPaperBlockRows;
        const Exact<uint8_t> query = make_bytes(random, spec.row_bytes(), kind == 0 ? 0 : kind),
                             rows = make_bytes(random, count * spec.row_bytes(), kind == 0 ? 0 : 2);
        const size_t code_bytes = paper_code_bytes(spec);
        Exact<uint8_t> packed(blocks * kPaperBlockRows * code_bytes), table(code_bytes * 32);
        paper_pack(spec, rows.data(), count, packed.data());
        paper_table(spec, query.data(), table.data());
        Exact<int32_t> sums(blocks * kPaperBlockRows), want(count);
        baselines(tested.isa).lut_sdc(packed.data(), blocks, code_bytes, table.data(), sums.data());
        baselines(Isa::Scalar).popcount_sdc(query.data(), rows.data(), count, dims / 8, planes, want.data());
        for (size_t i = 0; i < count; ++i) {
          const int32_t got = paper_score(spec, sums[i]);
          CHECK(got == want[i], name(spec, count) << ", row " << i << ", got " << got << ", want " << want[i]);
        }
      }
    }
  }
}

BEBR_KERNEL_TEST(lut_sdc_any_table) {
  Random random(23);
  for (const size_t code_bytes : {1, 2, 3, 64, 255, 256, 257, 513, 514, 4096}) {
    for (const int kind : {0, 2}) {
      const Exact<uint8_t> data = make_bytes(random, 2 * 32 * code_bytes, 0),
                           table = make_bytes(random, 32 * code_bytes, kind);
      Exact<int32_t> got(64), want(64);
      baselines(Isa::Scalar).lut_sdc(data.data(), 2, code_bytes, table.data(), want.data());
      baselines(tested.isa).lut_sdc(data.data(), 2, code_bytes, table.data(), got.data());
      CHECK_SAME(got.data(), want.data(), 64, "code bytes " << code_bytes);
    }
  }
}

BEBR_KERNEL_TEST(every_kernel_can_be_timed) {
  for (const char* kernel : {"read", "scan_table", "scan_batch", "complete", "dot_bits16", "select", "select_few",
                             "raw_dot_i8", "raw_dot_f16", "raw_l2_f16", "gemm", "project", "descend", "descent_follow",
                             "descent_energy", "permute", "lut_sdc", "popcount_sdc"}) {
    const std::vector<double> seconds = time_kernel(tested.isa, kernel, 64, 2, 1030, 5, 2);
    CHECK(seconds.size() == 2 && seconds[0] > 0, kernel);
  }
  bool refused = false;
  try {
    time_kernel(tested.isa, "no_kernel", 64, 2, 1030, 5, 2);
  } catch (const Error& error) {
    refused = error.code() == ErrorCode::InvalidArgument;
  }
  CHECK(refused, "no_kernel");
}

BEBR_TEST(paper_packing_refuses_other_planes) {
  for (const std::vector<uint32_t>& widths : {std::vector<uint32_t>{64}, {64, 64, 64}, {64, 32}}) {
    bool refused = false;
    try {
      paper_code_bytes(CodeSpec::make(widths));
    } catch (const Error& error) {
      refused = error.code() == ErrorCode::InvalidArgument;
    }
    CHECK(refused, widths.size() << " planes");
  }
}

}  // namespace
}  // namespace bebr::test
