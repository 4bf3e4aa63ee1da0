#include "cuda/grouped.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "cuda/centroids.h"
#include "index/ivf/half_norm.h"
#include "index/ivf/means.h"

namespace bebr::cuda {
namespace {

constexpr size_t kIterations = 10;  // of k-means over the centroids

uint32_t narrow(size_t n) { return static_cast<uint32_t>(n); }

// k-means over the centroids from evenly spaced ones, as the CPU's: the group of each centroid.
std::vector<uint32_t> grouped(uint32_t dim, size_t count, const float* values, std::vector<float>& means) {
  const auto groups = static_cast<size_t>(std::sqrt(static_cast<double>(count)));
  means.resize(groups * dim);
  for (size_t g = 0; g < groups; ++g) std::copy_n(values + g * count / groups * dim, dim, means.data() + g * dim);
  const DeviceArray<float> there(std::span(values, count * dim));
  DeviceArray<uint32_t> found(count);
  std::vector<size_t> sizes(groups);
  for (size_t iteration = 0;; ++iteration) {
    const AllCentroids all(dim, groups, means.data());
    all.nearest({there.data(), narrow(count), dim}, found.data());
    const std::vector<uint32_t> of = found.get();
    if (iteration == kIterations) return of;
    list_means(values, dim, of, sizes, means.data());
  }
}

}  // namespace

GroupedCentroids::GroupedCentroids(uint32_t dim, size_t count, const float* values) {
  std::vector<float> all_means;
  const std::vector<uint32_t> of = grouped(dim, count, values, all_means);
  std::vector<std::vector<uint32_t>> members(all_means.size() / dim);
  for (uint32_t i = 0; i < count; ++i) members[of[i]].push_back(i);
  std::vector<float> bias, weights, weight_bias;
  std::vector<uint32_t> names, first_tile{0};
  for (size_t g = 0; g < members.size(); ++g) {
    if (members[g].empty()) continue;
    const float* mean = all_means.data() + g * dim;
    means_.insert(means_.end(), mean, mean + dim);
    bias.push_back(-half_norm(mean, dim));
    for (const uint32_t i : members[g]) {
      weights.insert(weights.end(), values + size_t{i} * dim, values + (size_t{i} + 1) * dim);
      weight_bias.push_back(-half_norm(values + size_t{i} * dim, dim));
      names.push_back(i);
    }
    const size_t whole = (names.size() + kTileColumns - 1) / kTileColumns * kTileColumns;
    weights.resize(whole * dim);
    weight_bias.resize(whole, -std::numeric_limits<float>::infinity());
    names.resize(whole);
    first_tile.push_back(narrow(whole / kTileColumns));
    members_.push_back(std::move(members[g]));
  }
  layers_.emplace_back(Layer{means_.data(), bias.data(), dim, narrow(groups())});
  layers_.emplace_back(Layer{weights.data(), weight_bias.data(), dim, narrow(names.size())});
  first_tile_ = DeviceArray<uint32_t>(first_tile);
  names_ = DeviceArray<uint32_t>(names);
}

size_t GroupedCentroids::bytes_of_row() const noexcept {
  return layers_[0].out_stride() * sizeof(float) + 2 * kGroupsLooked * sizeof(uint32_t) + sizeof(unsigned long long);
}

void GroupedCentroids::reserve(size_t batch) const {
  room_ = {};
  room_.scores = DeviceArray<float>(batch * layers_[0].out_stride());
  room_.chosen = DeviceArray<uint32_t>(batch * kGroupsLooked);
  room_.visitors = DeviceArray<uint32_t>(batch * kGroupsLooked);
  room_.best = DeviceArray<unsigned long long>(batch);
  for (DeviceArray<uint32_t>* array : {&room_.counts, &room_.begin, &room_.first_block, &room_.next})
    *array = DeviceArray<uint32_t>(groups() + 1);
}

void GroupedCentroids::assign(const MatrixView& x, uint32_t* lists) const {
  const Room& room = std::as_const(room_);
  const uint32_t groups = narrow(members_.size()), visits = x.rows * kGroupsLooked;
  room_.counts.fill_bytes(0);
  room_.best.fill_bytes(0);
  product(x, layers_[0], false, room_.scores.data());
  choose_groups(
      {x.rows, groups, layers_[0].out_stride(), room.scores.data(), room_.chosen.data(), room_.counts.data()});
  sort_by_group({visits, groups, room.counts.data(), room.chosen.data(), room_.begin.data(), room_.first_block.data(),
                 room_.next.data(), room_.visitors.data()});
  // Whole blocks, and at most one that is not for each group.
  look_in_groups({x, layers_[1].view(), groups, visits / kRowsTogether + groups, first_tile_.data(), names_.data(),
                  room.begin.data(), room.first_block.data(), room.visitors.data(), room_.best.data()});
  const std::vector<unsigned long long> keys = room_.best.get(x.rows);
  for (uint32_t i = 0; i < x.rows; ++i) lists[i] = keys[i] == 0 ? 0 : ~static_cast<uint32_t>(keys[i]);
}

}  // namespace bebr::cuda
