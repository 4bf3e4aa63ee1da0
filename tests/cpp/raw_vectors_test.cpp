// RawVectors against plain arithmetic, in memory and mapped, with rows removed: what Python's tests cannot show to a
// sanitizer.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "index/raw/raw.h"

namespace bebr::test {
namespace {

constexpr uint32_t kRows = 60, kQueries = 3, kCandidates = 20, kBest = 5;

struct Fixture {
  uint32_t dim;
  std::vector<float> x, q;
  std::vector<int64_t> ids, candidates;

  Fixture(Random& random, uint32_t dims) : dim(dims), x(size_t{kRows} * dims), q(size_t{kQueries} * dims) {
    std::normal_distribution<float> normal;
    for (float& v : x) v = normal(random);
    for (float& v : q) v = normal(random);
    for (uint32_t i = 0; i < kRows; ++i) ids.push_back(i % 2 == 0 ? i : 1000 - 7 * int64_t{i});
    for (uint32_t i = 0; i < kQueries * kCandidates; ++i)
      candidates.push_back(i % 11 == 0 ? -1 : i % 7 == 0 ? 5555 : ids[(i * 17) % kRows]);
  }

  double score(const float* query, int64_t id, bool squared_distance) const {
    const auto row = static_cast<size_t>(std::find(ids.begin(), ids.end(), id) - ids.begin());
    double sum = 0;
    for (uint32_t j = 0; j < dim; ++j) {
      const double a = query[j], b = x[row * dim + j];
      sum += squared_distance ? (a - b) * (a - b) : a * b;
    }
    return sum;
  }

  void check(const RawVectors& raw, const std::vector<int64_t>& gone, const std::string& where) const {
    for (const bool squared_distance : {false, true}) {
      Exact<float> scores(kQueries * kBest);
      Exact<int64_t> found(kQueries * kBest);
      raw.rescore(q.data(), kQueries, candidates.data(), {kCandidates, kBest, squared_distance}, scores.data(),
                  found.data());
      const double sign = squared_distance ? -1 : 1,
                   slack = raw.format().type == RawType::Int8 ? 0.05 * dim : 0.01 * dim;
      for (uint32_t i = 0; i < kQueries; ++i) {
        std::vector<double> want;
        for (uint32_t c = 0; c < kCandidates; ++c) {
          const int64_t id = candidates[i * kCandidates + c];
          if (id < 0 || id == 5555 || std::find(gone.begin(), gone.end(), id) != gone.end()) continue;
          want.push_back(sign * score(q.data() + i * dim, id, squared_distance));
        }
        std::sort(want.rbegin(), want.rend());
        for (uint32_t b = 0; b < kBest; ++b) {
          const size_t at = i * kBest + b;
          CHECK((found[at] >= 0) == (b < want.size()), where);
          if (found[at] < 0) continue;
          CHECK(std::abs(sign * scores[at] - want[b]) <= slack, where << ": " << scores[at] << ", want " << want[b]);
          CHECK(std::abs(score(q.data() + i * dim, found[at], squared_distance) - scores[at]) <= slack, where);
        }
      }
    }
  }
};

BEBR_TEST(raw_vectors_in_memory_and_mapped_score_the_same_rows) {
  Random random(62);
  const std::string path = "/tmp/bebr_raw_test_" + std::to_string(::getpid());
  for (const RawType type : {RawType::Float16, RawType::Int8}) {
    for (const uint32_t dim : {1u, 7u, 33u, 384u}) {
      const Fixture fixture(random, dim);
      const std::string where = std::to_string(dim) + (type == RawType::Int8 ? " dims, int8" : " dims, fp16");
      RawVectors raw({dim, type});
      raw.add(kRows, fixture.x.data(), fixture.ids.data());
      fixture.check(raw, {}, where);
      std::vector<int64_t> gone;
      for (uint32_t i = 0; i < kRows; i += 3) gone.push_back(fixture.ids[i]);
      CHECK(raw.remove(gone) == gone.size() && raw.remove(gone) == 0, where);
      fixture.check(raw, gone, where + ", removed");

      const auto save = [&](const RawVectors& from) {
        std::vector<Section> sections;
        const RawVectors::Saved saved(from);
        saved.add_to(sections);
        write_file(path, "flat", sections);
      };
      save(raw);
      const auto read = RawVectors::open(File::open(path, "flat", true), false);
      fixture.check(*read, gone, where + ", read");
      const auto mapped = RawVectors::open(File::open(path, "flat", false), true);
      fixture.check(*mapped, gone, where + ", mapped");
      const std::vector<int64_t> more = {fixture.ids[1], fixture.ids[2]};
      CHECK(mapped->remove(more) == 2 && mapped->remove(more) == 0, where);
      gone.insert(gone.end(), more.begin(), more.end());
      fixture.check(*mapped, gone, where + ", marked");
      save(*mapped);
      fixture.check(*RawVectors::open(File::open(path, "flat", true), true), gone, where + ", saved from a map");
    }
  }
  std::remove(path.c_str());
}

}  // namespace
}  // namespace bebr::test
