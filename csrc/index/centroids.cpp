#include "index/centroids.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/buffer.h"
#include "base/threads.h"

namespace bebr {
namespace {

constexpr size_t kChunk = 64;            // rows of x at a time: their scores stay in cache
constexpr size_t kGroupChunk = 1024;     // the same through groups: a group's centroids are read once for all of them
constexpr size_t kMostDirect = 4096;     // more centroids than this are looked at through groups
constexpr size_t kGroupsLooked = 12;     // of about sqrt(count), by a query; figures in csrc/README.md
constexpr size_t kGroupsAssigned = 6;    // by a row that is assigned
constexpr size_t kGroupIterations = 10;  // of k-means over the centroids

// x -> <x, c> + bias; bias null: 0.
Dense dense(const float* values, const float* bias, size_t count, uint32_t dim) {
  const std::vector<float> nothing(count, 0.0f);
  return Dense({values, bias != nullptr ? bias : nothing.data(), dim, static_cast<uint32_t>(count)});
}

float half_norm(const float* values, uint32_t dim) {
  double sum = 0;
  for (uint32_t j = 0; j < dim; ++j) sum += double{values[j]} * double{values[j]};
  return static_cast<float>(sum / 2);
}

struct Ranked {
  float score;
  uint32_t list;
};
bool better_list(const Ranked& a, const Ranked& b) {
  return a.score > b.score || (a.score == b.score && a.list < b.list);
}

// A value that the `probes` best of `values` reach, and few others: of lanes apart, so that the maximum of each is a
// vector operation, the probes-th best. A selection among all values would take four times as long.
float floor_of_best(std::span<const float> values, size_t probes, std::vector<float>& best) {
  size_t lanes = 64;
  while (lanes < 2 * probes) lanes *= 2;
  const size_t count = values.size();
  if (count <= 2 * lanes) {
    best.assign(values.begin(), values.end());
  } else {
    best.assign(values.begin(), values.begin() + static_cast<ptrdiff_t>(lanes));
    size_t at = lanes;
    for (; at + lanes <= count; at += lanes)
      for (size_t lane = 0; lane < lanes; ++lane) best[lane] = std::max(best[lane], values[at + lane]);
    for (size_t lane = 0; at + lane < count; ++lane) best[lane] = std::max(best[lane], values[at + lane]);
  }
  const auto last = best.begin() + static_cast<ptrdiff_t>(probes - 1);
  std::nth_element(best.begin(), last, best.end(), std::greater<>());
  return *last;
}

void take_best(std::vector<Ranked>& all, size_t probes, uint32_t* lists) {
  if (probes == 1) {
    *lists = std::min_element(all.begin(), all.end(), better_list)->list;
    return;
  }
  const auto end = all.begin() + static_cast<ptrdiff_t>(probes);
  if (probes < all.size()) std::nth_element(all.begin(), end - 1, all.end(), better_list);
  std::sort(all.begin(), end, better_list);
  for (size_t p = 0; p < probes; ++p) lists[p] = all[p].list;
}

}  // namespace

Centroids::Centroids(uint32_t dim, size_t count, const float* values, bool by_product)
    : dim_(dim), count_(count), by_product_(by_product), values_(values, values + count * dim), half_norms_(count) {
  for (size_t i = 0; i < count; ++i) half_norms_[i] = half_norm(values + i * dim, dim);
  if (count <= kMostDirect) {
    groups_.push_back({dense(values, nullptr, count, dim), {}});
    if (kernels().gemm_bf16 != nullptr) make_rough();
  } else {
    make_groups();
  }
}

void Centroids::make_rough() {
  centre_.resize(dim_);
  for (uint32_t j = 0; j < dim_; ++j) {
    double sum = 0;
    for (size_t i = 0; i < count_; ++i) sum += double{values_[i * dim_ + j]};
    centre_[j] = static_cast<float>(sum / static_cast<double>(count_));
  }
  std::vector<float> rows(values_.size()), bias(count_);
  for (size_t i = 0; i < count_; ++i) {
    for (uint32_t j = 0; j < dim_; ++j) rows[i * dim_ + j] = values_[i * dim_ + j] - centre_[j];
    if (!by_product_) bias[i] = -half_norm(rows.data() + i * dim_, dim_);
  }
  rough_.push_back(dense(rows.data(), bias.data(), count_, dim_));
  rough_.front().pack_bf16();
}

float Centroids::product(const float* x, size_t list) const noexcept {
  const float* c = values_.data() + list * dim_;
  float sums[16] = {};
  uint32_t j = 0;
  for (; j + 16 <= dim_; j += 16)
    for (uint32_t lane = 0; lane < 16; ++lane) sums[lane] += x[j + lane] * c[j + lane];
  float total = std::accumulate(sums, sums + 16, 0.0f);
  for (; j < dim_; ++j) total += x[j] * c[j];
  return total;
}

// k-means over the centroids from evenly spaced ones, the same every time.
void Centroids::make_groups() {
  const size_t groups = static_cast<size_t>(std::sqrt(static_cast<double>(count_)));
  std::vector<float> means(groups * dim_);
  for (size_t g = 0; g < groups; ++g)
    std::copy_n(values_.data() + g * count_ / groups * dim_, dim_, means.data() + g * dim_);
  std::vector<uint32_t> of(count_);
  for (size_t iteration = 0;; ++iteration) {
    const Centroids nearest_mean(dim_, groups, means.data(), false);
    nearest_mean.assign(values_.data(), count_, of.data());
    if (iteration == kGroupIterations) break;
    std::vector<double> sums(groups * dim_);
    std::vector<size_t> sizes(groups);
    for (size_t i = 0; i < count_; ++i) {
      ++sizes[of[i]];
      for (uint32_t j = 0; j < dim_; ++j) sums[of[i] * dim_ + j] += double{values_[i * dim_ + j]};
    }
    for (size_t g = 0; g < groups; ++g)
      for (uint32_t j = 0; sizes[g] > 0 && j < dim_; ++j)
        means[g * dim_ + j] = static_cast<float>(sums[g * dim_ + j] / static_cast<double>(sizes[g]));
  }
  std::vector<std::vector<uint32_t>> members(groups);
  for (size_t i = 0; i < count_; ++i) members[of[i]].push_back(static_cast<uint32_t>(i));
  std::vector<float> kept_means, bias, rows;
  for (size_t g = 0; g < groups; ++g) {
    if (members[g].empty()) continue;
    rows.clear();
    for (const uint32_t i : members[g])
      rows.insert(rows.end(), values_.begin() + static_cast<ptrdiff_t>(size_t{i} * dim_),
                  values_.begin() + static_cast<ptrdiff_t>((size_t{i} + 1) * dim_));
    groups_.push_back({dense(rows.data(), nullptr, members[g].size(), dim_), std::move(members[g])});
    kept_means.insert(kept_means.end(), means.begin() + static_cast<ptrdiff_t>(g * dim_),
                      means.begin() + static_cast<ptrdiff_t>((g + 1) * dim_));
    bias.push_back(-half_norm(means.data() + g * dim_, dim_));
  }
  heads_.push_back(dense(kept_means.data(), bias.data(), groups_.size(), dim_));
}

void Centroids::nearest(const float* x, size_t n, size_t probes, uint32_t* lists) const {
  (heads_.empty() ? rank_all(x, n, probes, by_product_, lists)
                  : rank_groups(x, n, probes, by_product_, kGroupsLooked, lists));
}

void Centroids::assign(const float* x, size_t n, uint32_t* lists) const {
  parallel_for(n, heads_.empty() ? kChunk : kGroupChunk, [&](size_t begin, size_t end) {
    const float* from = x + begin * dim_;
    (heads_.empty() ? rank_all(from, end - begin, 1, false, lists + begin)
                    : rank_groups(from, end - begin, 1, false, kGroupsAssigned, lists + begin));
  });
}

const float* Centroids::score_all(const float* x, size_t rows, bool by_product, bool roughly) const {
  static thread_local Buffer work, shifted;
  const size_t stride = groups_.front().weights.out_stride();
  float* scores = floats(work, rows * stride);
  if (!roughly) {
    groups_.front().weights.forward(kernels(), x, rows, dim_, false, false, scores);
    for (size_t i = 0; !by_product && i < rows; ++i)
      for (size_t c = 0; c < count_; ++c) scores[i * stride + c] -= half_norms_[c];
    return scores;
  }
  if (!by_product) {
    float* around = floats(shifted, rows * dim_);
    for (size_t i = 0; i < rows; ++i)
      for (uint32_t j = 0; j < dim_; ++j) around[i * dim_ + j] = x[i * dim_ + j] - centre_[j];
    x = around;
  }
  rough_.front().forward(kernels(), x, rows, dim_, false, true, scores);
  return scores;
}

void Centroids::rank_all(const float* x, size_t n, size_t probes, bool by_product, uint32_t* lists) const {
  const bool roughly = probes > 1 && by_product == by_product_ && !rough_.empty();
  const size_t stride = groups_.front().weights.out_stride();
  static thread_local std::vector<Ranked> ranked;
  static thread_local std::vector<float> order;
  for (size_t row = 0; row < n; row += kChunk) {
    const size_t rows = std::min(kChunk, n - row);
    const float* scores = score_all(x + row * dim_, rows, by_product, roughly);
    for (size_t i = 0; i < rows; ++i) {
      const std::span<const float> values(scores + i * stride, count_);
      if (probes == 1) {  // no list of all: what an assignment does a billion times
        lists[row + i] = static_cast<uint32_t>(std::max_element(values.begin(), values.end()) - values.begin());
        continue;
      }
      const float least = floor_of_best(values, probes, order);
      ranked.clear();
      for (uint32_t c = 0; c < count_; ++c)
        if (values[c] >= least) ranked.push_back({values[c], c});
      take_best(ranked, probes, lists + (row + i) * probes);
    }
  }
}

void Centroids::rank_groups(const float* x, size_t n, size_t probes, bool by_product, size_t groups_looked,
                            uint32_t* lists) const {
  const Dense& heads = heads_.front();
  static thread_local Buffer work;
  std::vector<Ranked> order(groups_.size());
  std::vector<uint32_t> best(groups_.size());
  std::vector<std::vector<uint32_t>> visits(groups_.size());  // rows that look at a group
  for (size_t row = 0; row < n; row += kGroupChunk) {
    const size_t rows = std::min(kGroupChunk, n - row);
    const float* head_scores = floats(work, rows * heads.out_stride());
    heads.forward(kernels(), x + row * dim_, rows, dim_, false, false, work.as<float>());
    for (auto& visit : visits) visit.clear();
    for (size_t i = 0; i < rows; ++i) {
      for (uint32_t g = 0; g < groups_.size(); ++g) order[g] = {head_scores[i * heads.out_stride() + g], g};
      size_t looked = 0, held = 0, known = 0;
      while (looked < best.size() && (looked < groups_looked || held < 4 * probes)) {
        if (looked == known) {  // few of them are needed in order
          known = std::min(best.size(), std::max(groups_looked, 4 * known));
          take_best(order, known, best.data());
        }
        held += groups_[best[looked]].lists.size();
        visits[best[looked++]].push_back(static_cast<uint32_t>(i));
      }
    }
    std::vector<std::vector<Ranked>> found(rows);
    std::vector<float> gathered;
    Buffer scores;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (visits[g].empty()) continue;
      gathered.resize(visits[g].size() * dim_);
      for (size_t v = 0; v < visits[g].size(); ++v)
        std::copy_n(x + (row + visits[g][v]) * dim_, dim_, gathered.data() + v * dim_);
      const Dense& weights = groups_[g].weights;
      float* out = floats(scores, visits[g].size() * weights.out_stride());
      weights.forward(kernels(), gathered.data(), visits[g].size(), dim_, false, false, out);
      for (size_t v = 0; v < visits[g].size(); ++v) {
        std::vector<Ranked>& all = found[visits[g][v]];
        for (size_t c = 0; c < groups_[g].lists.size(); ++c) {
          const uint32_t list = groups_[g].lists[c];
          const float s = out[v * weights.out_stride() + c];
          const float score = by_product ? s : s - half_norms_[list];
          if (probes > 1 || all.empty())
            all.push_back({score, list});
          else if (better_list({score, list}, all.front()))
            all.front() = {score, list};
        }
      }
    }
    for (size_t i = 0; i < rows; ++i) take_best(found[i], probes, lists + (row + i) * probes);
  }
}

}  // namespace bebr
