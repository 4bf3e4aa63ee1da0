#include "index/query_batch.h"

#include "base/threads.h"

namespace bebr {

const std::vector<FineQuery>& QueryBatch::fine() {
  if (!fine_.empty()) return fine_;
  fine_.resize(size());
  parallel_for(size(), 8, [&](size_t begin, size_t end) {
    for (size_t q = begin; q < end; ++q) fine_[q] = make_fine_query(spec_, queries_.y + q * spec_.dims());
  });
  return fine_;
}

const float* QueryBatch::exact_y() {
  if (!exact_y_.empty()) return exact_y_.data();
  const std::vector<FineQuery>& fine = this->fine();
  exact_y_.resize(size() * spec_.dims());
  for (size_t q = 0; q < size(); ++q) fine_values(spec_, fine[q], exact_y_.data() + q * spec_.dims());
  return exact_y_.data();
}

const LutQueries& QueryBatch::stage_tables() {
  if (!stage_tables_)
    stage_tables_ = make_lut_queries(spec_, own_stage() ? queries_.stage_y : queries_.y, size(), spec_.dims());
  return *stage_tables_;
}

const LutQueries& QueryBatch::exact_tables() {
  if (!exact_tables_) exact_tables_ = make_lut_queries(spec_, exact_y(), size(), spec_.dims());
  return *exact_tables_;
}

}  // namespace bebr
