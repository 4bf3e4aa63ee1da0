// Which byte groups of the sign plane a flat scan reads: by the variance that the others have.
#include <cmath>
#include <vector>

#include "check.h"
#include "index/query.h"

namespace bebr::test {
namespace {

CodeSpec of_planes(std::vector<uint32_t> widths) { return CodeSpec::make(widths); }

std::vector<float> falling(uint32_t dims, double power) {
  std::vector<float> y(dims);
  for (uint32_t j = 0; j < dims; ++j) y[j] = static_cast<float>((j % 2 == 0 ? 1 : -1) * std::pow(j + 1.0, -power));
  return y;
}

BEBR_TEST(dims_of_equal_variance_all_count) {
  const std::vector<float> y(384, 0.5f);
  CHECK(leading_groups(of_planes({384, 384, 384}), y.data(), y.data()) == 48, "");
}

BEBR_TEST(where_signs_are_all_there_is_every_dim_counts) {
  const std::vector<float> y = falling(384, 2);
  CHECK(leading_groups(of_planes({384}), y.data(), y.data()) == 48, "");
}

BEBR_TEST(a_query_of_zeros_counts_every_dim) {
  const std::vector<float> y(64);
  CHECK(leading_groups(of_planes({64, 64}), y.data(), y.data()) == 8, "");
}

// The most whole quads whose variance is below a 24th of what the other planes hold.
BEBR_TEST(trailing_dims_are_left_out_by_their_variance) {
  const CodeSpec spec = of_planes({376, 312, 168});
  for (const double power : {0.3, 0.5, 0.8, 1.0, 2.0}) {
    const std::vector<float> y = falling(376, power), stage_y = falling(376, power / 2);
    const uint32_t groups = leading_groups(spec, y.data(), stage_y.data());
    CHECK(groups == 47 || (groups % 4 == 0 && groups >= 4), "power " << power << ", groups " << groups);
    double hidden = 0, all = 0, stage_all = 0;
    for (uint32_t j = 0; j < 376; ++j) all += double{y[j]} * double{y[j]};
    for (uint32_t j = 0; j < 376; ++j) stage_all += double{stage_y[j]} * double{stage_y[j]};
    for (uint32_t j = 0; j < 312; ++j) hidden += double{y[j]} * double{y[j]} * (j < 168 ? 0.25 + 0.0625 : 0.25);
    const double most = hidden / all * stage_all / 24;
    const auto behind = [&](uint32_t group) {
      double sum = 0;
      for (uint32_t j = 8 * group; j < 376; ++j) sum += double{stage_y[j]} * double{stage_y[j]};
      return sum;
    };
    CHECK(behind(groups) < most, "power " << power << ", groups " << groups);
    if (groups > 4)
      CHECK(behind((groups - 1) / 4 * 4) >= most * (1 - 1e-4), "power " << power << ", groups " << groups);
  }
}

}  // namespace
}  // namespace bebr::test
