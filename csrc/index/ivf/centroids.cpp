#include "index/ivf/centroids.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <mutex>
#include <numeric>

#include "base/buffer.h"
#include "base/threads.h"
#include "index/floor_of_best.h"
#include "index/ivf/half_norm.h"
#include "index/ivf/near_groups.h"
#include "index/topk.h"

namespace bebr {
namespace {

constexpr size_t kChunk = 64;          // rows of x at a time: their scores stay in cache
constexpr size_t kGroupChunk = 1024;   // the same through groups: a group's centroids are read once for all of them
constexpr size_t kAssignChunk = 4096;  // and where rows are assigned: enough of them a group for whole tiles
constexpr size_t kGroupsLooked = 64;   // of about 4 sqrt(count), by a query (docs/experiments/many-centroids.md)
constexpr size_t kHeldTimes = 6;       // or more, until they hold so many times the lists that are wanted
constexpr size_t kGroupsAssigned = 8;  // by a row that is assigned; of few lists twice as many, for groups are smaller
constexpr size_t kCounted = 48;        // of so many, counting who is better is faster than a sort
constexpr size_t kMost = 4;            // all are sorted where more than a kMost-th are wanted
constexpr size_t kByDigits = 256;      // from so many on, a sort by digits is faster than one by comparisons

struct Ranked {
  float score;
  uint32_t list;
};
// No function, which a sort would call by its address.
constexpr auto better_list = [](const Ranked& a, const Ranked& b) {
  return (a.score > b.score) | ((a.score == b.score) & (a.list < b.list));
};

// Infinities of unlike signs, of products beyond a float's range, add up to no number: the worst score there is.
float number(float score) { return score > kLowest ? score : kLowest; }

void take_best(std::span<Ranked> all, size_t nprobe, uint32_t* lists) {
  if (nprobe == 1) {
    *lists = std::min_element(all.begin(), all.end(), better_list)->list;
    return;
  }
  if (all.size() <= kCounted) {
    for (size_t i = 0; i < all.size(); ++i) {
      size_t better = 0;
      for (size_t j = 0; j < all.size(); ++j) better += better_list(all[j], all[i]) ? 1 : 0;
      if (better < nprobe) lists[better] = all[i].list;
    }
    return;
  }
  const auto end = all.begin() + static_cast<ptrdiff_t>(nprobe);
  if (nprobe < all.size()) std::nth_element(all.begin(), end - 1, all.end(), better_list);
  std::sort(all.begin(), end, better_list);
  for (size_t p = 0; p < nprobe; ++p) lists[p] = all[p].list;
}

// All of `ranked`, which come in the order of their lists, the best first: by the digits of their scores, the last ones
// first. What a comparison says cannot be foreseen: of 2,048 lists a sort by comparisons takes five times as long.
void sort_by_digits(std::vector<Ranked>& ranked, std::vector<Ranked>& room) {
  constexpr uint32_t kBits = 11, kDigits = 3, kValues = 1u << kBits;
  const auto key = [](float score) {
    const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 is 0
    return bits >> 31 != 0 ? bits : ~bits & 0x7fffffffu;          // the smaller, the better
  };
  uint32_t begin[kDigits][kValues] = {};
  for (const Ranked& one : ranked)
    for (uint32_t d = 0; d < kDigits; ++d) ++begin[d][key(one.score) >> d * kBits & (kValues - 1)];
  for (auto& places : begin) std::exclusive_scan(places, places + kValues, places, 0u);
  room.resize(ranked.size());
  for (uint32_t d = 0; d < kDigits; ++d) {
    for (const Ranked& one : ranked) room[begin[d][key(one.score) >> d * kBits & (kValues - 1)]++] = one;
    ranked.swap(room);
  }
}

}  // namespace

Centroids::Centroids(uint32_t dim, size_t count, const float* values, bool by_product, size_t most_direct)
    : dim_(dim), count_(count), by_product_(by_product), values_(values, values + count * dim) {
  find_centre();
  if (count > most_direct) {
    make_groups();
    return;
  }
  exact_.emplace(Layer{values, std::vector<float>(count).data(), dim, static_cast<uint32_t>(count)});
  half_norms_.resize(count);
  for (size_t i = 0; i < count; ++i) half_norms_[i] = half_norm(values + i * dim, dim);
  std::vector<uint32_t> all(count);
  std::iota(all.begin(), all.end(), 0u);
  all_.emplace(around(values, all));
}

std::shared_ptr<const Centroids> Centroids::shared(uint32_t dim, size_t count, const float* values, bool by_product) {
  static std::mutex mutex;
  static std::vector<std::weak_ptr<const Centroids>> all;
  const auto same = [&](const Centroids& one) {
    return one.dim_ == dim && one.count_ == count && one.by_product_ == by_product &&
           std::memcmp(one.values_.data(), values, count * dim * sizeof(float)) == 0;
  };
  const auto find = [&]() -> std::shared_ptr<const Centroids> {
    std::erase_if(all, [](const auto& one) { return one.expired(); });
    for (const auto& one : all)
      if (auto there = one.lock(); there && same(*there)) return there;
    return nullptr;
  };
  {
    const std::lock_guard lock(mutex);
    if (auto there = find()) return there;
  }
  auto made = std::make_shared<const Centroids>(dim, count, values, by_product);  // milliseconds: not under the lock
  const std::lock_guard lock(mutex);
  if (auto there = find()) return there;
  all.push_back(made);
  return made;
}

void Centroids::find_centre() {
  centre_.resize(dim_);
  for (uint32_t j = 0; j < dim_; ++j) {
    double sum = 0;
    for (size_t i = 0; i < count_; ++i) sum += double{values_[i * dim_ + j]};
    centre_[j] = static_cast<float>(sum / static_cast<double>(count_));
  }
}

Centroids::Around Centroids::around(const float* values, std::span<const uint32_t> which) const {
  std::vector<float> rows(which.size() * dim_), half_norms(which.size());
  for (size_t i = 0; i < which.size(); ++i) {
    for (uint32_t j = 0; j < dim_; ++j) rows[i * dim_ + j] = values[size_t{which[i]} * dim_ + j] - centre_[j];
    half_norms[i] = half_norm(rows.data() + i * dim_, dim_);
  }
  return {RoughProducts(rows.data(), which.size(), dim_), std::move(half_norms)};
}

void Centroids::make_groups() {
  NearGroups near = near_groups(values_.data(), count_, dim_);
  for (std::vector<uint32_t>& members : near.members) {
    Around centroids = around(values_.data(), members);
    groups_.push_back({std::move(centroids), std::move(members)});
  }
  std::vector<uint32_t> all(groups_.size());
  std::iota(all.begin(), all.end(), 0u);
  heads_.emplace(around(near.means.data(), all));
}

void Centroids::nearest(const float* x, size_t n, size_t nprobe, uint32_t* lists) const {
  if (heads_)
    rank_groups(x, n, nprobe, lists);
  else
    rank_all(x, n, nprobe, by_product_, nprobe > 1, lists);
}

void Centroids::assign(const float* x, size_t n, uint32_t* lists, bool roughly) const {
  parallel_for(n, heads_ ? kGroupChunk : kChunk, [&](size_t begin, size_t end) {
    if (heads_)
      assign_by_groups(x + begin * dim_, end - begin, lists + begin);
    else
      rank_all(x + begin * dim_, end - begin, 1, false, roughly, lists + begin);
  });
}

const float* Centroids::score(const Around& some, const float* x, size_t rows, bool by_product, Buffer& work) const {
  const size_t stride = some.products.out_stride();
  float* scores = floats(work, rows * stride);
  some.products.forward(x, rows, scores);
  for (size_t i = 0; !by_product && i < rows; ++i)
    for (size_t c = 0; c < some.half_norms.size(); ++c) scores[i * stride + c] -= some.half_norms[c];
  return scores;
}

const float* Centroids::score_all(const float* x, size_t rows, bool by_product, bool roughly) const {
  static thread_local Buffer work, shifted;
  if (roughly) return score(*all_, by_product ? x : around_centre(x, rows, shifted), rows, by_product, work);
  const size_t stride = exact_->out_stride();
  float* scores = floats(work, rows * stride);
  exact_->forward(kernels(), x, rows, dim_, false, false, scores);
  for (size_t i = 0; !by_product && i < rows; ++i)
    for (size_t c = 0; c < count_; ++c) scores[i * stride + c] -= half_norms_[c];
  return scores;
}

void Centroids::rank_all(const float* x, size_t n, size_t nprobe, bool by_product, bool roughly,
                         uint32_t* lists) const {
  const size_t stride = exact_->out_stride();
  static thread_local std::vector<Ranked> ranked, room;
  static thread_local std::vector<float> order;
  for (size_t row = 0; row < n; row += kChunk) {
    const size_t rows = std::min(kChunk, n - row);
    const float* scores = score_all(x + row * dim_, rows, by_product, roughly);
    for (size_t i = 0; i < rows; ++i) {
      const std::span<const float> values(scores + i * stride, count_);
      if (nprobe == 1) {  // no list of all
        lists[row + i] = static_cast<uint32_t>(kernels().first_greatest(values.data(), count_));
        continue;
      }
      const float least = kMost * nprobe < count_ ? floor_of_best(values, nprobe, order) : kLowest;
      ranked.resize(count_);
      size_t few = 0;
      for (uint32_t c = 0; c < count_; ++c) {  // without a branch, which cannot be foreseen
        ranked[few] = {values[c], c};
        few += values[c] >= least ? 1 : 0;
      }
      if (few < nprobe) {  // some are no numbers: x is near the limit of a float
        few = count_;
        for (uint32_t c = 0; c < count_; ++c) ranked[c] = {number(values[c]), c};
      }
      uint32_t* best = lists + (row + i) * nprobe;
      if (nprobe < kByDigits) {
        take_best({ranked.data(), few}, nprobe, best);
        continue;
      }
      ranked.resize(few);
      sort_by_digits(ranked, room);
      for (size_t p = 0; p < nprobe; ++p) best[p] = ranked[p].list;
    }
  }
}

const float* Centroids::around_centre(const float* x, size_t rows, Buffer& work) const {
  float* around = floats(work, rows * dim_);
  for (size_t i = 0; i < rows; ++i)
    for (uint32_t j = 0; j < dim_; ++j) around[i * dim_ + j] = x[i * dim_ + j] - centre_[j];
  return around;
}

void Centroids::assign_by_groups(const float* x, size_t n, uint32_t* lists) const {
  const size_t looked = std::min(count_ > kMostDirect ? kGroupsAssigned : 2 * kGroupsAssigned, groups_.size()),
               stride = heads_->products.out_stride();
  const Kernels& table = kernels();
  static thread_local Buffer shifted, work, gathered;
  std::vector<Ranked> best(kAssignChunk);
  std::vector<std::vector<uint32_t>> visits(groups_.size());  // rows that search a group
  for (size_t row = 0; row < n; row += kAssignChunk) {
    const size_t rows = std::min(kAssignChunk, n - row);
    const float* from = around_centre(x + row * dim_, rows, shifted);
    for (auto& visit : visits) visit.clear();
    for (size_t begin = 0; begin < rows; begin += kChunk) {
      const size_t count = std::min(kChunk, rows - begin);
      score(*heads_, from + begin * dim_, count, false, work);
      for (size_t i = 0; i < count; ++i) {
        float* values = work.as<float>() + i * stride;
        for (size_t seen = 0; seen < looked; ++seen) {
          const size_t g = table.first_greatest(values, groups_.size());
          visits[g].push_back(static_cast<uint32_t>(begin + i));
          values[g] = kLowest;
        }
      }
    }
    std::fill_n(best.begin(), rows, Ranked{kLowest, 0});
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (visits[g].empty()) continue;
      const Group& group = groups_[g];
      const size_t count = visits[g].size();
      float* mine = floats(gathered, count * dim_);
      for (size_t v = 0; v < count; ++v) std::copy_n(from + visits[g][v] * dim_, dim_, mine + v * dim_);
      const float* scores = score(group.centroids, mine, count, false, work);
      for (size_t v = 0; v < count; ++v) {
        const float* values = scores + v * group.centroids.products.out_stride();
        const size_t c = table.first_greatest(values, group.lists.size());
        const Ranked found{values[c], group.lists[c]};
        if (better_list(found, best[visits[g][v]])) best[visits[g][v]] = found;
      }
    }
    for (size_t i = 0; i < rows; ++i) lists[row + i] = best[i].list;
  }
}

void Centroids::rank_groups(const float* x, size_t n, size_t nprobe, uint32_t* lists) const {
  const size_t stride = heads_->products.out_stride();
  static thread_local Buffer work, shifted;
  std::vector<Ranked> order(groups_.size());
  std::vector<uint32_t> best(groups_.size());
  std::vector<std::vector<uint32_t>> visits(groups_.size());  // rows that look at a group
  for (size_t row = 0; row < n; row += kGroupChunk) {
    const size_t rows = std::min(kGroupChunk, n - row);
    const float* around = around_centre(x + row * dim_, rows, shifted);
    const float* head_scores = score(*heads_, around, rows, false, work);
    for (auto& visit : visits) visit.clear();
    for (size_t i = 0; i < rows; ++i) {
      for (uint32_t g = 0; g < groups_.size(); ++g) order[g] = {number(head_scores[i * stride + g]), g};
      size_t looked = 0, held = 0, known = 0;
      while (looked < best.size() && (looked < kGroupsLooked || held < kHeldTimes * nprobe)) {
        if (looked == known) {  // few of them are needed in order
          known = std::min(best.size(), std::max(kGroupsLooked, 4 * known));
          take_best(order, known, best.data());
        }
        held += groups_[best[looked]].lists.size();
        visits[best[looked++]].push_back(static_cast<uint32_t>(i));
      }
    }
    std::vector<std::vector<Ranked>> found(rows);
    std::vector<float> gathered;
    const float* from = by_product_ ? x + row * dim_ : around;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (visits[g].empty()) continue;
      gathered.resize(visits[g].size() * dim_);
      for (size_t v = 0; v < visits[g].size(); ++v)
        std::copy_n(from + visits[g][v] * dim_, dim_, gathered.data() + v * dim_);
      const Around& centroids = groups_[g].centroids;
      const float* out = score(centroids, gathered.data(), visits[g].size(), by_product_, work);
      for (size_t v = 0; v < visits[g].size(); ++v) {
        std::vector<Ranked>& all = found[visits[g][v]];
        for (size_t c = 0; c < groups_[g].lists.size(); ++c)
          all.push_back({number(out[v * centroids.products.out_stride() + c]), groups_[g].lists[c]});
      }
    }
    for (size_t i = 0; i < rows; ++i) take_best(found[i], nprobe, lists + (row + i) * nprobe);
  }
}

}  // namespace bebr
