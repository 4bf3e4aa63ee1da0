#include "index/ivf/near_groups.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "index/ivf/centroids.h"
#include "index/ivf/means.h"

namespace bebr {
namespace {

constexpr size_t kIterations = 10;
constexpr size_t kParts = 4;  // of a group, on average

// k-means of `count` rows from `groups` evenly spaced ones: what each group has, and its mean.
NearGroups k_means(const float* values, size_t count, uint32_t dim, size_t groups) {
  NearGroups made{std::vector<std::vector<uint32_t>>(groups), std::vector<float>(groups * dim)};
  for (size_t g = 0; g < groups; ++g)
    std::copy_n(values + g * count / groups * dim, dim, made.means.begin() + static_cast<ptrdiff_t>(g * dim));
  std::vector<uint32_t> of(count);
  for (size_t iteration = 0;; ++iteration) {
    const Centroids nearest_mean(dim, groups, made.means.data(), false);
    nearest_mean.assign(values, count, of.data());
    if (iteration == kIterations) break;
    std::vector<size_t> sizes(groups);
    list_means(values, dim, of, sizes, made.means.data());
  }
  for (size_t i = 0; i < count; ++i) made.members[of[i]].push_back(static_cast<uint32_t>(i));
  return made;
}

}  // namespace

NearGroups near_groups(const float* values, size_t count, uint32_t dim) {
  const auto groups = static_cast<size_t>(std::sqrt(static_cast<double>(count)));
  NearGroups made;
  std::vector<float> rows;
  for (const std::vector<uint32_t>& members : k_means(values, count, dim, groups).members) {
    if (members.empty()) continue;
    rows.clear();
    for (const uint32_t i : members) {
      const std::span<const float> row(values + size_t{i} * dim, dim);
      rows.insert(rows.end(), row.begin(), row.end());
    }
    const size_t parts = std::clamp<size_t>(members.size() * kParts * groups / count, 1, members.size());
    const NearGroups divided = k_means(rows.data(), members.size(), dim, parts);
    for (size_t part = 0; part < parts; ++part) {
      if (divided.members[part].empty()) continue;
      std::vector<uint32_t>& mine = made.members.emplace_back();
      for (const uint32_t i : divided.members[part]) mine.push_back(members[i]);
      const auto mean = divided.means.begin() + static_cast<ptrdiff_t>(part * dim);
      made.means.insert(made.means.end(), mean, mean + dim);
    }
  }
  return made;
}

}  // namespace bebr
