// Exact scores of the rows that a search of a snapshot found by code, or of all its rows.
#include <algorithm>
#include <limits>
#include <vector>

#include "base/threads.h"
#include "collection/places.h"

namespace bebr {
namespace {

// The best of the rows that one query is shown.
class Scored {
 public:
  Scored(RawFormat format, bool squared_distance, size_t k, const float* query)
      : exact_(format, squared_distance), sign_(squared_distance ? -1.0f : 1.0f), top_(k) {
    exact_.set(query);
  }

  // Rows `which` of a block, whose ids are ids(i).
  template <typename Id>
  void add(const uint8_t* rows, std::span<const uint32_t> which, const Id& id) {
    scores_.resize(which.size());
    exact_.score(rows, which, scores_.data());
    for (size_t i = 0; i < which.size(); ++i) top_.push({sign_ * scores_[i], id(i)});
  }

  // The k best within the radius.
  void write(size_t k, std::optional<double> radius, float* scores, int64_t* ids) {
    const std::vector<Hit>& sorted = top_.sorted();
    const float limit = static_cast<float>(radius.value_or(0));
    for (size_t i = 0; i < k; ++i) {
      const bool there = i < sorted.size() && !(radius && sorted[i].score < sign_ * limit);
      scores[i] = there ? sign_ * sorted[i].score : sign_ * kLowest;
      ids[i] = there ? sorted[i].id : -1;
    }
  }

 private:
  RawScores exact_;
  float sign_;
  TopK top_;
  std::vector<float> scores_;
};

}  // namespace

// Of the rows of a reading of parts_.
void CollectionSnapshot::score_all(const CodeReading& reading, const float* queries, size_t n,
                                   const CollectionSearch& asked, float* scores, int64_t* ids) const {
  const bool squared = model_->metric() == Metric::SquaredDistance;
  const size_t dim = model_->inner_dim(), k = asked.k;
  const auto ready = [&](size_t i) { return Scored(*settings_.kept, squared, k, queries + i * dim); };
  std::vector<std::vector<uint32_t>> rows;  // that are searched, by block of each part
  for (size_t p = 0; p < parts_.size(); ++p) {
    const auto& part = parts_[p];
    const RowFilter& filter = reading.views[p].filter;
    for (size_t first = 0; first < part->reader->rows(); first += part->kept.block_rows) {
      std::vector<uint32_t>& here = rows.emplace_back();
      filter.each(first, std::min(part->kept.block_rows, part->reader->rows() - first), [&](size_t row) {
        uint32_t at = static_cast<uint32_t>(row - first);
        if (part->kept.apart == nullptr || part->kept.apart->find(part->reader->ids()[row], at)) here.push_back(at);
      });
    }
  }
  parallel_for(n, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      check_stop(asked.stop);
      Scored best = ready(i);
      size_t block = 0;
      for (const auto& part : parts_) {
        const int64_t* of = part->kept.apart ? part->kept.apart->row_ids() : part->reader->ids().data();
        for (size_t first = 0, b = 0; first < part->reader->rows(); first += part->kept.block_rows, ++b, ++block) {
          const std::vector<uint32_t>& here = rows[block];
          best.add(part->kept.blocks[b], here, [&](size_t j) { return of[first + here[j]]; });
        }
      }
      best.write(k, asked.radius, scores + i * k, ids + i * k);
    }
  });
  size_t all = 0;
  for (const std::vector<uint32_t>& here : rows) all += here.size();
  note_work(asked.work, n * all, n * all);
}

void CollectionSnapshot::rescore(const float* queries, size_t n, const CollectionSearch& asked, const int64_t* found,
                                 size_t depth, float* scores, int64_t* ids) const {
  const bool squared = model_->metric() == Metric::SquaredDistance;
  const size_t dim = model_->inner_dim(), k = asked.k;
  const auto ready = [&](size_t i) { return Scored(*settings_.kept, squared, k, queries + i * dim); };
  std::vector<std::vector<Place>> all(n);
  parallel_for(n, 8, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      all[i] = places(parts_, {found + i * depth, depth});
      std::erase_if(all[i], [&](Place& place) {  // from where the row is to where its vector is
        const RawVectors* apart = parts_[place.part]->kept.apart.get();
        return apart != nullptr && !apart->find(place.id, place.row);
      });
    }
  });
  const size_t stride = settings_.kept->stride();
  for (uint32_t p = 0; p < parts_.size(); ++p) {  // what is not in memory is asked for before the first is scored
    if (parts_[p]->kept.blocks.size() != 1) continue;
    std::vector<int64_t> rows;
    for (const std::vector<Place>& of : all)
      for (const Place& place : of)
        if (place.part == p) rows.push_back(place.row);
    std::sort(rows.begin(), rows.end());
    read_ahead(parts_[p]->kept.blocks.front(), stride, rows);
  }
  parallel_for(n, 1, [&](size_t begin, size_t end) {
    std::vector<uint32_t> which;
    for (size_t i = begin; i < end; ++i) {
      check_stop(asked.stop);
      Scored best = ready(i);
      std::vector<Place>& of = all[i];
      const auto block_of = [&](const Place& place) { return place.row / parts_[place.part]->kept.block_rows; };
      std::sort(of.begin(), of.end(),
                [](const Place& a, const Place& b) { return a.part != b.part ? a.part < b.part : a.row < b.row; });
      for (size_t from = 0, to = 0; from < of.size(); from = to) {
        const KeptRows& kept = parts_[of[from].part]->kept;
        const size_t block = block_of(of[from]);
        which.clear();
        for (to = from; to < of.size() && of[to].part == of[from].part && block_of(of[to]) == block; ++to)
          which.push_back(static_cast<uint32_t>(of[to].row - block * kept.block_rows));
        best.add(kept.blocks[block], which, [&](size_t j) { return of[from + j].id; });
      }
      best.write(k, asked.radius, scores + i * k, ids + i * k);
    }
  });
}

}  // namespace bebr
