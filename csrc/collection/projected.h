// A batch of queries in code space, with all that a search by code reads of them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "binarizer/queries.h"
#include "index/query_batch.h"

namespace bebr {

class ProjectedQueries {
 public:
  // vectors [n, inner_dim]: what model.vectors gave. The model outlives this.
  ProjectedQueries(const QueryModel& model, std::vector<float> vectors, size_t n)
      : model_(model), count_(n), vectors_(std::move(vectors)), y_(n * model.dims()), base_(n), offset_(n) {
    model.project(vectors_.data(), n, y_.data(), base_.data(), offset_.data());
  }

  // For a search that scans sign planes: with their own decoder, where there is one. It is half of the work.
  void project_stage() {
    if (!model_.has_stage()) return;
    stage_y_.resize(y_.size());
    stage_base_.resize(count_);
    model_.project_stage(vectors_.data(), count_, stage_y_.data(), stage_base_.data());
  }

  size_t size() const noexcept { return count_; }
  const std::vector<float>& vectors() const noexcept { return vectors_; }
  const std::vector<float>& offset() const noexcept { return offset_; }  // of QueryModel::to_metric
  Queries view() const noexcept {
    const bool stage = !stage_y_.empty();
    return {count_,
            y_.data(),
            base_.data(),
            stage ? stage_y_.data() : nullptr,
            stage ? stage_base_.data() : nullptr,
            vectors_.data()};
  }

 private:
  const QueryModel& model_;
  size_t count_;
  std::vector<float> vectors_, y_, base_, offset_, stage_y_, stage_base_;
};

}  // namespace bebr
