#include "index/query_batch.h"

#include "base/threads.h"

namespace bebr {

const std::vector<FineQuery>& QueryBatch::fine() {
  std::call_once(fine_made_, [this] {
    std::vector<FineQuery> made(size());
    parallel_for(size(), 8, [&](size_t begin, size_t end) {
      for (size_t q = begin; q < end; ++q) made[q] = make_fine_query(spec_, queries_.y + q * spec_.dims());
    });
    fine_ = std::move(made);
  });
  return fine_;
}

const float* QueryBatch::exact_y() {
  std::call_once(exact_made_, [this] {
    const std::vector<FineQuery>& fine = this->fine();
    exact_y_.resize(size() * spec_.dims());
    for (size_t q = 0; q < size(); ++q) fine_values(spec_, fine[q], exact_y_.data() + q * spec_.dims());
  });
  return exact_y_.data();
}

const LutQueries& QueryBatch::stage_tables() {
  std::call_once(stage_tables_made_,
                 [this] { stage_tables_ = make_lut_queries(spec_, stage_y(), size(), spec_.dims()); });
  return stage_tables_;
}

const LutQueries& QueryBatch::stage_bytes() {
  std::call_once(stage_bytes_made_,
                 [this] { stage_bytes_ = make_lut_queries(spec_, stage_y(), size(), spec_.dims(), false); });
  return stage_bytes_;
}

const LutQueries& QueryBatch::exact_tables() {
  std::call_once(exact_tables_made_,
                 [this] { exact_tables_ = make_lut_queries(spec_, exact_y(), size(), spec_.dims()); });
  return exact_tables_;
}

}  // namespace bebr
