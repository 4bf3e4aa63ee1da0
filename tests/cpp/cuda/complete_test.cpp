// Candidates completed and the best k by cuda/complete.cu, against kernel `complete`, final_score and TopK.
#include "cuda/complete.h"

#include <bit>
#include <limits>

#include "index/complete.h"
#include "rows.h"

namespace bebr::test {
namespace {

struct BestCase {
  std::vector<uint32_t> widths;
  uint32_t rows, count, k;
  Factor factor;
  uint32_t factor_bytes;
  bool equal_scores;  // all rows are one code, so that ids decide
  bool in_shared;
};

std::ostream& operator<<(std::ostream& out, const BestCase& c) {
  out << "rows " << c.rows << ", queries " << c.count << ", k " << c.k << ", factor " << static_cast<int>(c.factor)
      << " of " << c.factor_bytes << " bytes, equal " << c.equal_scores << ", " << how() << ", widths";
  for (const uint32_t w : c.widths) out << ' ' << w;
  return out;
}

// Two rounds over halves of the rows, in a random order of candidates.
void compare(Random& random, const BestCase& c) {
  CodeRows rows = make_rows(random, c.widths, c.rows, c.factor, c.factor_bytes);
  const uint32_t row_bytes = rows.spec.row_bytes();
  if (c.equal_scores) {
    for (uint32_t i = 1; i < c.rows; ++i) {
      std::copy_n(rows.planes.data(), row_bytes, rows.planes.data() + i * row_bytes);
      std::copy_n(rows.factors.data(), c.factor_bytes, rows.factors.data() + i * c.factor_bytes);
      put_row(rows.spec, rows.planes.data(), i, rows.blocks.data(), rows.rest.data());
    }
    rows.device_blocks = cuda::DeviceArray<uint8_t>(cuda::make_blocks(rows.spec, rows.planes.data(), c.rows));
    rows.device_factors = cuda::DeviceArray<uint8_t>(rows.factors);
  }
  std::vector<int64_t> ids(c.rows);
  for (uint32_t i = 0; i < c.rows; ++i) ids[i] = int64_t{i} * 7919 % c.rows + (int64_t{1} << 40);

  const RowFormat format{rows.spec, c.factor, false, rows.code, rows.code};
  const RowView view{rows.blocks.data(), rows.rest.data(), rows.factors.data(), nullptr, ids.data(), c.rows};
  const size_t stride = y16_stride(rows.spec.dims());
  std::vector<int16_t> y16(c.count * stride);
  std::vector<float> base(c.count), floors(c.count);
  std::vector<double> scale(c.count);
  std::vector<int32_t> ones(c.count);
  std::vector<FineQuery> fine;
  for (uint32_t q = 0; q < c.count; ++q) {
    std::vector<float> y(rows.spec.dims());
    for (float& value : y) value = (static_cast<float>(random() % 2001) - 1000) / 777;
    fine.push_back(make_fine_query(rows.spec, y.data()));
    std::copy_n(fine[q].y16.as<int16_t>(), stride, y16.data() + q * stride);
    base[q] = static_cast<float>(below(random, 100)) / 30;
    scale[q] = fine[q].scale;
    ones[q] = fine[q].ones[rows.spec.planes];
    floors[q] = q % 3 == 0 ? 0.25f : kLowest;
  }

  const uint32_t room = c.rows;
  const cuda::DeviceArray<int16_t> device_y16(y16);
  const cuda::DeviceArray<float> device_base(base), device_floors(floors);
  const cuda::DeviceArray<double> device_scale(scale);
  const cuda::DeviceArray<int32_t> device_ones(ones);
  const cuda::DeviceArray<int64_t> device_ids(ids);
  cuda::DeviceArray<uint32_t> found(c.count);
  cuda::DeviceArray<cuda::Candidate> candidates(size_t{c.count} * room);
  cuda::DeviceArray<float> best_scores(std::vector<float>(size_t{c.count} * c.k, kLowest)), threshold(c.count);
  cuda::DeviceArray<int64_t> best_ids(std::vector<int64_t>(size_t{c.count} * c.k, -1));
  cuda::BestArgs merge;
  merge.count = c.count;
  merge.k = c.k;
  merge.room = room;
  merge.size = std::bit_ceil(c.k + room);
  merge.found = std::as_const(found).data();
  merge.candidates = std::as_const(candidates).data();
  merge.ids = device_ids.data();
  merge.floor = device_floors.data();
  merge.best_scores = best_scores.data();
  merge.best_ids = best_ids.data();
  merge.threshold = threshold.data();
  cuda::DeviceArray<uint8_t> work(c.in_shared ? 0 : size_t{c.count} * merge.size * 12);
  if (!c.in_shared) merge.work = work.data();

  std::vector<TopK> tops;
  for (uint32_t q = 0; q < c.count; ++q) tops.emplace_back(c.k, floors[q]);
  for (const uint32_t half : {0u, 1u}) {
    std::vector<cuda::Candidate> listed(size_t{c.count} * room);
    std::vector<uint32_t> picked;
    for (uint32_t i = half * (c.rows / 2); i < (half == 0 ? c.rows / 2 : c.rows); ++i) picked.push_back(i);
    for (uint32_t q = 0; q < c.count; ++q) {
      std::shuffle(picked.begin(), picked.end(), random);
      for (size_t i = 0; i < picked.size(); ++i) listed[size_t{q} * room + i] = {0, picked[i]};
      complete_rows(format, view, fine[q], base[q], picked, tops[q]);
    }
    candidates.put(listed);
    found.put(std::vector<uint32_t>(c.count, static_cast<uint32_t>(picked.size())));
    cuda::complete({rows.view(),
                    {},
                    {},
                    rows.factor_view(),
                    c.count,
                    device_y16.data(),
                    device_base.data(),
                    device_scale.data(),
                    device_ones.data(),
                    std::as_const(found).data(),
                    candidates.data(),
                    room},
                   2);
    cuda::best(merge);
  }
  const std::vector<float> scores = best_scores.get(), thresholds = threshold.get();
  const std::vector<int64_t> found_ids = best_ids.get();
  for (uint32_t q = 0; q < c.count; ++q) {
    CHECK(thresholds[q] == tops[q].threshold(), "threshold " << thresholds[q] << "; " << c);
    const std::vector<Hit>& want = tops[q].sorted();
    for (uint32_t i = 0; i < c.k; ++i) {
      const Hit hit = i < want.size() ? want[i] : Hit{kLowest, -1};
      CHECK(found_ids[q * c.k + i] == hit.id, "query " << q << " place " << i << "; " << c);
      CHECK(std::memcmp(&scores[q * c.k + i], &hit.score, 4) == 0, "query " << q << " place " << i << "; " << c);
    }
  }
  ++cases.count;
}

BEBR_TEST(complete_and_best_equal_the_engine) {
  const std::vector<std::vector<uint32_t>> all = {
      {8}, {24, 16, 8}, {72, 72, 72}, {136, 128, 64, 40, 40, 24, 16, 8}, {104, 96, 88, 88, 80}, {520, 264}};
  Random random(20);
  in_every_order(random, [&] {
    for (const auto& widths : all)
      for (const uint32_t rows : {2u, 17u, 130u})
        for (const Factor factor : {Factor::None, Factor::Mul, Factor::Sub})
          compare(random, {widths, rows, 1 + below(random, 3), 1 + below(random, 20), factor, 1u << below(random, 3),
                           below(random, 3) == 0, below(random, 2) == 0});
  });
  compare(random, {{4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096}, 9, 1, 3, Factor::Mul, 4, false, true});
}

}  // namespace
}  // namespace bebr::test
