// A batch of queries in all the forms that a search may need, each made once for all segments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "index/query.h"

namespace bebr {

class Centroids;

// Float queries in code space. stage_y, stage_base: for the sign plane alone, with the first stage's own decoder; null:
// the first stage shares y and base. vectors: in the centroids' space; null where no IVF is searched.
struct Queries {
  size_t count = 0;
  const float* y = nullptr;           // count * dims
  const float* base = nullptr;        // count
  const float* stage_y = nullptr;     // count * dims
  const float* stage_base = nullptr;  // count
  const float* vectors = nullptr;     // count * dim of the centroids
};

// Any thread may ask for a form; the first one makes it, on all threads where it is not one of a parallel_for itself.
class QueryBatch {
 public:
  // The arrays stay where they are while this lives.
  QueryBatch(const CodeSpec& spec, const Queries& queries)
      : spec_(spec), queries_(queries), rankings_(queries.vectors != nullptr ? queries.count : 0) {}

  size_t size() const noexcept { return queries_.count; }
  const CodeSpec& spec() const noexcept { return spec_; }
  const float* y() const noexcept { return queries_.y; }
  const float* base() const noexcept { return queries_.base; }
  const float* stage_y() const noexcept { return own_stage() ? queries_.stage_y : queries_.y; }
  const float* stage_base() const noexcept { return own_stage() ? queries_.stage_base : queries_.base; }
  const float* vectors() const noexcept { return queries_.vectors; }

  const std::vector<FineQuery>& fine();
  // What the fine queries stand for: what an exact search reckons its bounds against.
  const float* exact_y();
  // Tables for the sign plane: of the first stage's queries, or of exact_y. stage_bytes: without the tables.
  const LutQueries& stage_tables();
  const LutQueries& stage_bytes();
  const LutQueries& exact_tables();

  // The nearest lists of a query, kept for the next segment with the same centroids: to rank 512 of 384 dimensions for
  // each file of 50,000 rows was a quarter of a search (docs/experiments/searches-beside-loads.md). One thread at a
  // time may ask for a query. Empty: not ranked by these centroids yet, or to another depth.
  std::span<const uint32_t> ranking(size_t query, const Centroids& by, size_t nprobe) const {
    const Ranking& kept = rankings_[query];
    if (kept.by != &by || kept.lists.size() != nprobe) return {};
    return kept.lists;
  }
  void keep_ranking(size_t query, const Centroids& by, std::span<const uint32_t> lists) {
    rankings_[query].by = &by;
    rankings_[query].lists.assign(lists.begin(), lists.end());
  }

 private:
  struct Ranking {
    const Centroids* by = nullptr;
    std::vector<uint32_t> lists;
  };
  bool own_stage() const noexcept { return queries_.stage_y != nullptr; }

  CodeSpec spec_;
  Queries queries_;
  std::once_flag fine_made_, exact_made_, stage_tables_made_, stage_bytes_made_, exact_tables_made_;
  std::vector<FineQuery> fine_;
  std::vector<float> exact_y_;
  LutQueries stage_tables_, stage_bytes_, exact_tables_;
  std::vector<Ranking> rankings_;
};

}  // namespace bebr
