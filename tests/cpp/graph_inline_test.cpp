// What a graph's records hold of their neighbours: the same bytes as the neighbours' own records, whatever came and
// went, and tables that stand for the query.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <shared_mutex>
#include <vector>

#include "check.h"
#include "code/layout.h"
#include "index/graph/rows.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDims = 64;

RowFormat format_of_test(Factor factor, uint32_t factor_bytes) {
  const uint32_t widths[] = {kDims, 32, 8};  // 13 bytes
  RowFormat format;
  format.spec = CodeSpec::make(widths);
  format.factor = factor;
  format.code = FactorCode::make(factor_bytes, 0x3000, 8);
  return format;
}

CodeSpace space_of_test() {
  CodeSpace space{std::vector<float>(kDims), std::vector<float>(kDims, 0.01f), 0.1f, 1, 0, false};
  for (size_t j = 0; j < kDims; ++j) space.gram[j] = 1.0f / static_cast<float>(1 + j);
  return space;
}

// Rows under ids first, first + 1, ..
void add(GraphRows& rows, Random& random, const RowFormat& format, int64_t first, size_t n) {
  std::vector<uint8_t> planes(n * format.spec.row_bytes());
  for (uint8_t& byte : planes) byte = static_cast<uint8_t>(random());
  std::vector<uint8_t> factors;
  for (size_t i = 0; i < n; ++i) {
    const auto half = static_cast<uint16_t>(0x3800 + below(random, 0x400));  // 1/2 to 1
    const float value = half_to_float(half);
    uint8_t stored[4] = {static_cast<uint8_t>(random())};
    if (format.code.bytes == 2) std::memcpy(stored, &half, sizeof half);
    if (format.code.bytes == 4) std::memcpy(stored, &value, sizeof value);
    factors.insert(factors.end(), stored, stored + format.factor_bytes());
  }
  std::vector<int64_t> ids(n);
  std::iota(ids.begin(), ids.end(), first);
  std::vector<RowPlace> places(n);
  rows.insert({n, planes.data(), factors.data(), ids.data(), nullptr}, places.data());
  rows.changed();
  std::shared_mutex mutex;
  rows.finish_insert(mutex);
}

// How many links there are; throws at the first whose bytes are not its node's.
size_t check_neighbours(const GraphSegment& segment, const char* state) {
  const GraphView view = segment.view({});
  const RecordLayout& layout = view.layout;
  size_t links = 0;
  for (uint32_t slot = 0; slot < view.rows; ++slot) {
    const uint8_t* record = view.record(slot);
    for (uint32_t i = 0; i < layout.degree; ++i) {
      const uint32_t link = load_link(record + layout.links + 4 * i);
      if (link == kNoLink) break;
      ++links;
      const uint8_t* neighbour = view.record(link);
      CHECK(!std::isnan(load_float(neighbour)), state << ", slot " << slot << " leads to a free one");
      CHECK_SAME(record + layout.near_factors + i * layout.factor_bytes, neighbour + layout.factors,
                 layout.factor_bytes, state << ", slot " << slot << ", link " << i);
      for (uint32_t g = 0; g < layout.near; ++g)
        CHECK(record[layout.near_codes + sign_offset(layout.near, i, g)] == neighbour[kCodeAt + g],
              state << ", slot " << slot << ", link " << i << ", byte " << g);
    }
  }
  return links;
}

void check_updates(Factor factor, uint32_t factor_bytes, uint32_t degree, uint32_t inlined) {
  Random random(60 + degree + factor_bytes);
  const RowFormat format = format_of_test(factor, factor_bytes);
  GraphRows rows(format, {degree, 24, 0, inlined}, space_of_test());
  const auto segment = std::static_pointer_cast<const GraphSegment>(rows.reader());
  std::shared_mutex mutex;
  const auto remove = [&](size_t first, size_t step) {
    std::vector<RowPlace> gone;
    rows.each([&](int64_t, RowPlace place) {
      if (place % step == first) gone.push_back(place);
    });
    rows.prepare_remove(gone.size());
    for (const RowPlace place : gone) rows.remove(place);
  };
  add(rows, random, format, 0, 300);
  CHECK(check_neighbours(*segment, "added") > 300, "links");
  remove(0, 40);
  check_neighbours(*segment, "removed, still walked through");
  remove(1, 3);
  rows.tidy(mutex);
  rows.changed();
  check_neighbours(*segment, "repaired");
  add(rows, random, format, 1000, 60);
  check_neighbours(*segment, "slots used again");
  add(rows, random, format, 2000, 1);
  check_neighbours(*segment, "one more");
  remove(2, 30);
  // As in a damaged file: what follows such a link moves up.
  const GraphView view = segment->view({});
  rows.each([&](int64_t, RowPlace place) {
    auto* record = const_cast<uint8_t*>(view.record(static_cast<uint32_t>(place)));
    if (load_link(record + view.layout.links + 4) != kNoLink) store_link(record + view.layout.links + 4, 1u << 30);
  });
  const GraphRows packed(*segment, rows.dead());
  const auto left = std::static_pointer_cast<const GraphSegment>(packed.reader());
  CHECK(left->rows() == rows.size(), left->rows());
  check_neighbours(*left, "packed");
}

BEBR_TEST(records_hold_their_neighbours_bytes) {
  check_updates(Factor::Mul, 2, 8, 4);
  check_updates(Factor::Mul, 1, 16, 12);
  check_updates(Factor::Sub, 4, 18, 32);  // all 13 bytes of a code
  check_updates(Factor::None, 2, 36, 8);
}

BEBR_TEST(tables_of_neighbours_stand_for_the_query) {
  Random random(61);
  for (const uint32_t bytes : {1u, 3u, 4u, 13u, 32u, 64u}) {
    for (const float size : {0.0f, 1e-38f, 1.0f, 1e20f}) {
      std::vector<float> w(8 * bytes);
      for (float& value : w) value = size * (static_cast<float>(below(random, 2001)) / 1000 - 1);
      NeighbourQuery query;
      query.set(w, 0);
      CHECK(query.tables.size() == table_bytes(bytes), query.tables.size());
      for (uint32_t g = 0; g < bytes; ++g) {
        const uint8_t* low = query.tables.data() + g / 4 * 128 + g % 4 * 16;
        const int most = *std::max_element(low, low + 16) + *std::max_element(low + 64, low + 80);
        CHECK(most <= 254, "byte " << g << ": two entries sum to " << most);
      }
      for (int turn = 0; turn < 20; ++turn) {
        double want = 0;
        int32_t sum = 0;
        for (uint32_t g = 0; g < bytes; ++g) {
          const auto code = static_cast<uint8_t>(random());
          const uint8_t* low = query.tables.data() + g / 4 * 128 + g % 4 * 16;
          sum += low[code & 15] + low[64 + (code >> 4)];
          for (uint32_t i = 0; i < 8; ++i) want += (code >> i & 1) != 0 ? double{w[8 * g + i]} : -double{w[8 * g + i]};
        }
        const double got = double{query.scale} * sum - query.offset;
        CHECK(std::fabs(got - want) <= 1.05 * bytes * query.scale + 1e-5 * size * bytes,
              bytes << " bytes of " << size << ": got " << got << ", want " << want);
      }
    }
  }
}

}  // namespace
}  // namespace bebr::test
