// How many of the best by code get exact scores where a search does not say: what was measured of each file, put
// together for all of them.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace bebr {

// What it takes to reach a recall, as measured for some k, ascending.
using ByK = std::vector<std::pair<size_t, size_t>>;

// The power law through the first and the last of these at k; that of one alone is flat. by_k is not empty.
double power_law(const ByK& by_k, double k) noexcept;

// Of rows that nothing was measured of, such as those in memory, the largest of the measured files tells how many they
// want.
class Candidates {
 public:
  // Rows that are searched together, and how many of their best by code hold their k best by exact scores; none where
  // that was not measured.
  struct Rows {
    size_t count = 0;
    ByK needed;
  };
  Candidates() = default;
  explicit Candidates(std::vector<Rows> rows);

  // Of a search for k rows among all of them.
  size_t at(size_t k) const noexcept;

 private:
  double needed(const Rows& some, size_t k) const noexcept;

  std::vector<Rows> rows_;
  size_t count_ = 0;
  std::optional<size_t> largest_;  // of the measured ones
};

}  // namespace bebr
