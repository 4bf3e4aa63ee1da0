// Indexes of every kind, and their answers, for the tests.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "index/flat/rows.h"
#include "index/graph/rows.h"
#include "index/index.h"
#include "index/ivf/rows.h"

namespace bebr::test {

inline std::unique_ptr<Index> flat_index(const RowFormat& format) {
  return std::make_unique<Index>(std::make_unique<FlatRows>(format));
}

inline std::unique_ptr<Index> ivf_index(const RowFormat& format, uint32_t dim, const std::vector<float>& centroids) {
  auto made = std::make_shared<const Centroids>(dim, centroids.size() / dim, centroids.data(), false);
  return std::make_unique<Index>(std::make_unique<IvfRows>(format, std::move(made)));
}

inline std::unique_ptr<Index> graph_index(const RowFormat& format, const GraphParams& params, CodeSpace space) {
  return std::make_unique<Index>(std::make_unique<GraphRows>(format, params, std::move(space)));
}

struct Answer {
  std::vector<float> scores;
  std::vector<int64_t> ids;
  bool operator==(const Answer&) const = default;
};

inline Answer answer_of(TopKBatch& tops, size_t k) {
  Answer answer{std::vector<float>(tops.size() * k), std::vector<int64_t>(tops.size() * k)};
  tops.write(answer.scores.data(), answer.ids.data());
  return answer;
}

inline Answer answer_of(const Index& index, const Queries& queries, const SearchOptions& options,
                        const AllowedIds& allow = std::nullopt) {
  QueryBatch batch(index.format().spec, queries);
  TopKBatch tops(queries.count, options.k, options.min_scores);
  index.search(batch, options, allow, tops);
  return answer_of(tops, options.k);
}

}  // namespace bebr::test
