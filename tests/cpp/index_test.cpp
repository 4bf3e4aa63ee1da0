// Index and the search of several: what does not depend on the kind of rows.
#include "index/index.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "check.h"
#include "index/flat/tail.h"
#include "indexes.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDims = 64, kRowBytes = 13, kDim = 8;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

RowFormat format_of_test() {
  const uint32_t widths[] = {kDims, 32, 8};
  return {CodeSpec::make(widths), Factor::Mul, false, FactorCode::make(2, 0, 0), FactorCode::make(2, 0, 0)};
}

// Rows under ids first, first + 1, ..; lists: of IVF, as many for the rows to go to in turn.
void add_rows(Index& index, Random& random, int64_t first, size_t n, uint32_t lists) {
  std::vector<uint8_t> planes(n * kRowBytes), factors;
  std::vector<int64_t> ids;
  std::vector<uint32_t> list;
  for (uint8_t& byte : planes) byte = static_cast<uint8_t>(random());
  for (size_t i = 0; i < n; ++i) {
    factors.insert(factors.end(), {0x00, 0x3c});  // 1 in fp16
    ids.push_back(first + static_cast<int64_t>(i));
    list.push_back(lists > 0 ? static_cast<uint32_t>(i) % lists : 0);
  }
  index.add({n, planes.data(), factors.data(), ids.data(), lists > 0 ? list.data() : nullptr});
}

std::vector<float> random_floats(Random& random, size_t n) {
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
  return values;
}

// The message of the Error that this throws, with such a code.
std::string refusal(ErrorCode code, const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    CHECK(error.code() == code, error.what());
    return error.what();
  }
  CHECK(false, "not refused");
  return {};
}

BEBR_TEST(an_ivf_segment_that_widens_its_search_keeps_what_others_found) {
  Random random(70);
  const RowFormat format = format_of_test();
  const auto flat = flat_index(format), ivf = ivf_index(format, kDim, random_floats(random, 4 * kDim));
  add_rows(*flat, random, 0, 5, 0);
  add_rows(*ivf, random, 100, 8, 4);
  const std::vector<float> y = random_floats(random, 2 * kDims), vectors = random_floats(random, 2 * kDim);
  const IndexView both[] = {{flat.get(), {}, {}}, {ivf.get(), {}, {}}};
  SearchOptions options;  // k = 10 of 13 rows, one list of two rows looked at: more must be
  const auto found = [&](size_t first, size_t count, const std::vector<float>& base) {
    QueryBatch batch(format.spec,
                     {count, y.data() + first * kDims, base.data(), nullptr, nullptr, vectors.data() + first * kDim});
    TopKBatch tops(count, options.k, nullptr);
    search(both, std::nullopt, batch, options, tops);
    return answer_of(tops, options.k).ids;
  };
  const size_t before = num_threads();
  set_num_threads(1);  // both queries in one group; the first scores no row
  const std::vector<int64_t> batch = found(0, 2, {kNaN, 0}), alone = found(1, 1, {0});
  set_num_threads(before);
  CHECK(std::vector(batch.begin() + 10, batch.end()) == alone, "found " << batch[10] << ", alone " << alone[0]);
}

BEBR_TEST(more_removed_rows_than_rows_are_refused) {
  Random random(71);
  const auto index = flat_index(format_of_test());
  add_rows(*index, random, 0, 200, 0);
  const std::vector<uint64_t> dead(words_for(200));
  const std::vector<float> y = random_floats(random, kDims), base(1);
  const IndexView view[] = {{index.get(), view_of(dead), {}, 201}};
  QueryBatch batch(index->format().spec, {1, y.data(), base.data(), nullptr, nullptr, nullptr});
  TopKBatch tops(1, 10, nullptr);
  const std::string said =
      refusal(ErrorCode::InvalidArgument, [&] { search(view, std::nullopt, batch, SearchOptions{}, tops); });
  CHECK(said.find("dead_rows is 201") != std::string::npos, said);
}

BEBR_TEST(an_id_that_comes_twice_is_removed_once) {
  Random random(72);
  TailRows tail(format_of_test());
  const std::vector<uint8_t> planes(20 * kRowBytes), factors(40);
  const std::vector<int64_t> ids = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
  tail.append(20, planes.data(), factors.data(), ids.data());
  Index frozen(tail.freeze(), "frozen");
  const auto flat = flat_index(format_of_test());
  add_rows(*flat, random, 0, 20, 0);
  for (Index* index : {&frozen, flat.get()}) {
    CHECK(index->remove(std::vector<int64_t>{3, 3, 99, 4}) == 2 && index->size() == 18, kind_name(index->kind()));
    CHECK(index->remove(std::vector<int64_t>{3, 5}) == 1 && index->size() == 17, kind_name(index->kind()));
    CHECK(!index->contains(3) && index->contains(6), kind_name(index->kind()));
  }
}

BEBR_TEST(a_file_with_centroids_that_are_no_numbers_is_refused) {
  Random random(73);
  std::vector<float> centroids = random_floats(random, 4 * kDim);
  centroids[9] = kNaN;
  const auto index = ivf_index(format_of_test(), kDim, centroids);
  const std::string path = (std::filesystem::temp_directory_path() / ("bebr_nan_" + std::to_string(getpid()))).string();
  index->save(path, {});
  const std::string said = refusal(ErrorCode::Corrupt, [&] { Index::open(File::open(path, "ivf", false), true); });
  std::filesystem::remove(path);
  CHECK(said.find("'centroids' holds nan") != std::string::npos, said);
}

}  // namespace
}  // namespace bebr::test
