#include "collection/candidates.h"

#include <algorithm>
#include <cmath>

#include "collection/searcher.h"

namespace bebr {

namespace {

double ratio(size_t a, size_t b) { return static_cast<double>(a) / static_cast<double>(b); }

// Of the power law.
double power_of(const ByK& by_k) noexcept {
  const auto [below, low] = by_k.front();
  const auto [above, high] = by_k.back();
  return above <= below || high <= low ? 0 : std::log(ratio(high, low)) / std::log(ratio(above, below));
}

}  // namespace

double power_law(const ByK& by_k, double k) noexcept {
  const auto [below, low] = by_k.front();
  return static_cast<double>(low) * std::pow(k / static_cast<double>(below), power_of(by_k));
}

Candidates::Candidates(std::vector<Rows> rows) : rows_(std::move(rows)) {
  for (size_t i = 0; i < rows_.size(); ++i) {
    count_ += rows_[i].count;
    const bool measured = rows_[i].count > 0 && !rows_[i].needed.empty();
    if (measured && (!largest_ || rows_[i].count > rows_[*largest_].count)) largest_ = i;
  }
}

// A row that is wanted is one of all rows: of k, each file has its share. The codes that are as good as the worst of
// these have to be looked at in every file, and how many these are adds up.
size_t Candidates::at(size_t k) const noexcept {
  double sum = 0;
  for (const Rows& some : rows_) {
    if (some.count > 0) sum += needed(some, k);
  }
  const auto usual = static_cast<double>(default_candidates(k));
  return static_cast<size_t>(std::max(usual, std::ceil(std::min(sum, static_cast<double>(kMostByDefault)))));
}

// That the k best are that share of all rows decides what share has to be looked at: as a power of it. So of times as
// many rows it is times that number to the power of what is left to 1.
double Candidates::needed(const Rows& some, size_t k) const noexcept {
  const double share = ratio(some.count, count_), wanted = share * static_cast<double>(k);
  if (!some.needed.empty()) return power_law(some.needed, wanted);
  if (!largest_) return share * static_cast<double>(default_candidates(k));
  const Rows& known = rows_[*largest_];
  const double left = std::max(0.0, 1 - power_of(known.needed));
  return power_law(known.needed, wanted) * std::pow(ratio(some.count, known.count), left);
}

}  // namespace bebr
