#include "collection/candidates.h"

#include <algorithm>
#include <cmath>

#include "collection/searcher.h"

namespace bebr {

double power_law(const ByK& by_k, double k) noexcept {
  const auto of = [](size_t a, size_t b) { return static_cast<double>(a) / static_cast<double>(b); };
  const auto [below, low] = by_k.front();
  const auto [above, high] = by_k.back();
  if (above <= below || high <= low) return static_cast<double>(low);
  const double power = std::log(of(high, low)) / std::log(of(above, below));
  return static_cast<double>(low) * std::pow(k / static_cast<double>(below), power);
}

Candidates::Candidates(std::vector<Rows> rows) : rows_(std::move(rows)) {
  for (const Rows& some : rows_) count_ += some.count;
}

// A row that is wanted is one of all rows: of k, each file has its share. The codes that are as good as the worst of
// these have to be looked at in every file, and how many these are adds up.
size_t Candidates::at(size_t k) const noexcept {
  const auto usual = static_cast<double>(default_candidates(k));
  double sum = 0;
  for (const Rows& some : rows_) {
    if (some.count == 0) continue;
    const double share = static_cast<double>(some.count) / static_cast<double>(count_);
    sum += some.needed.empty() ? share * usual : power_law(some.needed, share * static_cast<double>(k));
  }
  return static_cast<size_t>(std::max(usual, std::ceil(std::min(sum, static_cast<double>(kMostByDefault)))));
}

}  // namespace bebr
