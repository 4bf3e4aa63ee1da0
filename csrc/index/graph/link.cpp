#include "index/graph/link.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

#include "base/threads.h"
#include "kernels/floats.h"

namespace bebr {

Int8Vectors::Int8Vectors(const RecordLayout& layout, Factor mode, const CodeSpace& space, float reach)
    : layout_(layout), mode_(mode), reach_(space.augment_norm ? reach : 0) {
  const uint32_t dims = layout.spec.dims();
  stride_ = round_up(dims + 1, 64);
  root_.resize(dims);
  shift_.resize(dims);
  float reached = 0;
  for (uint32_t j = 0; j < dims; ++j) {
    root_[j] = std::sqrt(std::max(space.gram[j], 0.0f));
    shift_[j] = root_[j] > 0 ? space.mean[j] / root_[j] : 0;
    reached += shift_[j] * shift_[j];
  }
  outside_ = std::sqrt(std::max(space.mean_norm - reached, 0.0f));
}

// dims entries and one more: what no column reaches of mu.
void Int8Vectors::decode(const uint8_t* record, std::vector<float>& v) const {
  const uint32_t dims = layout_.spec.dims();
  v.resize(dims + 1);
  layout_.unpack(record, v.data());
  const float factor = mode_ == Factor::Mul ? load_float(record) : 1;
  for (uint32_t j = 0; j < dims; ++j) v[j] = factor * (root_[j] * v[j] + shift_[j]);
  v[dims] = factor * outside_;
}

float Int8Vectors::norm_of(const uint8_t* record) const {
  thread_local std::vector<float> v;
  decode(record, v);
  float norm = 0;
  for (const float x : v) norm += x * x;
  return norm;
}

Int8Vectors::Measures Int8Vectors::make(const uint8_t* record, int8_t* entries) const {
  thread_local std::vector<float> v;
  decode(record, v);
  const auto dims = static_cast<uint32_t>(v.size());
  float largest = 0;
  for (uint32_t j = 0; j < dims; ++j) largest = std::max(largest, std::fabs(v[j]));
  const float scale = largest > 1e-30f && largest < 1e30f ? largest / 127 : 1;
  const float per = largest < 1e30f ? 1 / scale : 0;
  int32_t sum = 0;
  for (uint32_t j = 0; j < dims; ++j) {
    const int32_t entry = std::clamp(nearest(v[j] * per), -127, 127);
    entries[j] = static_cast<int8_t>(entry);
    sum += entry * entry;
  }
  std::fill(entries + dims, entries + stride_, int8_t{0});
  const float norm = scale * scale * static_cast<float>(sum), extra = std::sqrt(std::max(reach_ - norm, 0.0f));
  return {scale, extra, norm + extra * extra};
}

void Int8Vectors::keep_all(const GraphView& view) {
  entries_.resize(view.rows * stride_);
  measures_.resize(view.rows);
  parallel_for(view.rows, 256, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i)
      measures_[i] = make(view.record(static_cast<uint32_t>(i)), entries_.as<int8_t>() + i * stride_);
  });
}

float document_as_query(const GraphView& view, const CodeSpace& space, uint32_t slot, std::vector<float>& y) {
  const uint8_t* record = view.record(slot);
  const uint32_t dims = view.layout.spec.dims();
  y.resize(dims);
  view.layout.unpack(record, y.data());
  float base = space.mean_norm, scale = 1;
  for (uint32_t j = 0; j < dims; ++j) {
    base += space.mean[j] * y[j];
    y[j] = space.gram[j] * y[j] + space.mean[j];
  }
  if (view.mode == Factor::Mul) {
    scale = load_float(record);
    base *= scale;
  } else {
    scale = 2 * space.scale;
    base = space.scale * (2 * base - space.offset);
  }
  for (uint32_t j = 0; j < dims; ++j) y[j] *= scale;
  return base;
}

void Linker::as_query(uint32_t slot, BitQuery& query) {
  const float base = document_as_query(view_, space_, slot, v_);
  query.set(view_.layout, v_.data(), base, view_.kernels);
}

void Linker::gather(std::span<const uint32_t> nodes) {
  const size_t n = nodes.size();
  measures_.resize(n);
  rows_.resize(n);
  if (vectors_.kept()) {
    data_ = vectors_.entries();
    for (size_t i = 0; i < n; ++i) {
      rows_[i] = nodes[i];
      measures_[i] = vectors_.measures(nodes[i]);
    }
    return;
  }
  entries_.resize(n * vectors_.stride());
  data_ = entries_.as<int8_t>();
  for (size_t i = 0; i < n; ++i) {
    rows_[i] = static_cast<uint32_t>(i);
    measures_[i] = vectors_.make(view_.record(nodes[i]), entries_.as<int8_t>() + i * vectors_.stride());
  }
}

// Squared distances of some candidates from another.
void Linker::measure(uint32_t from, std::span<const uint32_t> to) {
  picked_.clear();
  for (const uint32_t at : to) picked_.push_back(rows_[at]);
  dots_.resize(to.size());
  distances_.resize(to.size());
  const size_t stride = vectors_.stride();
  view_.kernels.dot_int8(data_ + rows_[from] * stride, data_, stride, picked_.data(), to.size(), dots_.data());
  const Int8Vectors::Measures& a = measures_[from];
  for (size_t i = 0; i < to.size(); ++i) {
    const Int8Vectors::Measures& b = measures_[to[i]];
    distances_[i] = a.norm + b.norm - 2 * (a.scale * b.scale * static_cast<float>(dots_[i]) + a.extra * b.extra);
  }
}

// Keeps the neighbours by slot among the candidates of the node's own code, which stand first in near_; returns how
// many these candidates are. Each would drop the others, and all rows link to the same one of them: groups of three and
// more had rows that nothing linked to (docs/experiments/graph-pruning.md).
size_t Linker::keep_duplicates(uint32_t slot, std::span<const uint32_t> nodes, size_t degree) {
  constexpr float kSame = 1e-6f;  // of the norm: less than the least step of one entry
  const float most = kSame * measures_[nodes.size()].norm;
  same_.clear();
  for (size_t i = 0; i < near_.size() && near_[i].distance <= most; ++i) same_.push_back(nodes[near_[i].at]);
  std::sort(same_.begin(), same_.end());
  const auto next = std::lower_bound(same_.begin(), same_.end(), slot);
  const auto each = static_cast<std::ptrdiff_t>(most_duplicates(degree));
  kept_.assign(next - std::min(each, next - same_.begin()), next + std::min(each, same_.end() - next));
  return same_.size();
}

void Linker::prune(uint32_t slot, std::vector<uint32_t>& nodes, size_t degree) {
  const auto count = static_cast<uint32_t>(nodes.size());
  nodes.push_back(slot);
  gather(nodes);
  nodes.pop_back();
  std::vector<uint32_t>& rest = rest_;  // what nothing kept has passed over, nearest first
  rest.resize(count);
  for (uint32_t i = 0; i < count; ++i) rest[i] = i;
  measure(count, rest);
  near_.clear();
  for (uint32_t i = 0; i < count; ++i) near_.push_back({distances_[i], i});
  std::sort(near_.begin(), near_.end(), [&](const Near& a, const Near& b) {
    return a.distance < b.distance || (a.distance == b.distance && nodes[a.at] < nodes[b.at]);
  });
  own_.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    rest[i] = near_[i].at;
    own_[near_[i].at] = near_[i].distance;
  }
  const size_t same = keep_duplicates(slot, nodes, degree);
  rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(same));
  for (size_t first = 0; first < rest.size() && kept_.size() < degree;) {
    const uint32_t next = rest[first++];
    kept_.push_back(nodes[next]);
    if (kept_.size() == degree) break;
    measure(next, std::span(rest).subspan(first));
    size_t left = 0;
    for (size_t i = first; i < rest.size(); ++i)
      if (!(kAlpha * distances_[i - first] <= own_[rest[i]])) rest[left++] = rest[i];
    rest.resize(left);
    first = 0;
  }
  nodes = kept_;
}

}  // namespace bebr
