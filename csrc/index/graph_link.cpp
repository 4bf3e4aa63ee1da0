#include "index/graph_link.h"

#include <algorithm>

namespace bebr {

float Linker::as_query(uint32_t slot, BitQuery& query, bool first_line) {
  const RecordLayout& layout = view_.layout;
  const uint8_t* record = view_.record(slot);
  const uint32_t dims = layout.spec.dims();
  v_.resize(dims);
  layout.unpack(record, v_.data());
  float mean = 0, own = 0;
  for (uint32_t j = 0; j < dims; ++j) {
    const float y = space_.gram[j] * v_[j];
    own += y * v_[j];
    mean += space_.mean[j] * v_[j];
    v_[j] = y + space_.mean[j];
  }
  float base = space_.mean_norm + mean, norm = base + mean + own, scale = 1;
  if (view_.mode == Factor::Mul) {
    scale = load_float(record);
    base *= scale;
    norm *= scale * scale;
  } else if (view_.mode == Factor::Sub) {
    scale = 2 * space_.scale;
    base = space_.scale * (2 * base - space_.offset);
  }
  for (uint32_t j = 0; j < dims; ++j) v_[j] *= scale;
  query.set(layout, v_.data(), base, first_line);
  return norm;
}

void Linker::measure(uint32_t slot, std::span<const uint32_t> nodes, std::vector<Near>& to) {
  const float norm = as_query(slot, query_, false);
  scores_.resize(nodes.size());
  view_.score_rows(query_, nodes.data(), nodes.size(), scores_.data());
  to.clear();
  for (size_t i = 0; i < nodes.size(); ++i) to.push_back({distance(norm, scores_[i], nodes[i]), nodes[i]});
  std::sort(to.begin(), to.end());
}

void Linker::prune(std::vector<Near>& candidates, size_t degree) {
  size_t kept = 0;
  rest_at_.resize(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) rest_at_[i] = i;
  // rest_at_: what no kept one has passed over, nearest first.
  while (kept < degree && !rest_at_.empty()) {
    const Near next = candidates[rest_at_.front()];
    candidates[kept++] = next;  // at or before its own place
    rest_at_.erase(rest_at_.begin());
    if (kept == degree || rest_at_.empty()) break;
    const float norm = as_query(next.node, query_, false);
    rest_.clear();
    for (const size_t at : rest_at_) rest_.push_back(candidates[at].node);
    scores_.resize(rest_.size());
    view_.score_rows(query_, rest_.data(), rest_.size(), scores_.data());
    size_t left = 0;
    for (size_t i = 0; i < rest_.size(); ++i)
      if (!(kAlpha * distance(norm, scores_[i], rest_[i]) <= candidates[rest_at_[i]].distance))
        rest_at_[left++] = rest_at_[i];
    rest_at_.resize(left);
  }
  candidates.resize(kept);
}

}  // namespace bebr
