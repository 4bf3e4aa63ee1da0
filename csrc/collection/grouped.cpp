#include "collection/grouped.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "collection/places.h"

namespace bebr {
namespace {

constexpr size_t kFewestHits = 64, kDeeper = 4;

struct Hits {
  std::vector<float> scores;
  std::vector<int64_t> ids;
  bool more() const noexcept { return ids.back() >= 0; }  // whether there may be rows beyond these
};

struct Group {
  std::string value;
  std::vector<Hit> rows;  // the best ones, as many as are shown
};

using Values = std::unordered_set<std::string>;

// The groups of one query.
class Grouping {
 public:
  Grouping(const CollectionSnapshot& whole, const CodeReading& some,
           std::span<const std::shared_ptr<const GroupColumn>> columns, const CollectionSearch& asked, size_t size)
      : whole_(whole), some_(some), columns_(columns), asked_(asked), size_(size) {}

  std::vector<Group> of(const float* query, const int64_t* row) {
    query_ = query;
    row_ = row;
    size_t depth = std::max(kFewestHits, kDeeper * asked_.k * size_);
    Hits last = find(depth, some_);
    bool several = add(last), more = last.more();  // more: whether a group may have rows that were not found
    while (groups_.size() < asked_.k && last.more()) {
      const size_t before = groups_.size();
      if (!several) {
        last = find(depth, without(found()));
        several = add(last);
      }
      if (several || groups_.size() == before) {  // a row with a value that is known may have one that is not, or none
        if (depth >= whole_.all_rows()) break;
        depth *= kDeeper;
        last = find(depth, some_);
        more = last.more();
        several = add(last) || several;
      }
    }
    rank();
    if (groups_.size() > asked_.k) groups_.resize(asked_.k);  // the others are not shown, however few their rows are
    for (Group& group : groups_)
      if (more && group.rows.size() < size_) complete(group);
    rank();
    return std::move(groups_);
  }

 private:
  Hits find(size_t depth, const CodeReading& reading) const {
    CollectionSearch deeper = asked_;
    deeper.k = std::min(depth, std::max<size_t>(whole_.all_rows(), 1));
    if (deeper.rescore.value_or(0) > 0) deeper.rescore = std::max(*deeper.rescore, deeper.k);
    Hits hits{std::vector<float>(deeper.k), std::vector<int64_t>(deeper.k)};
    if (row_ == nullptr)
      whole_.search(reading, query_, 1, deeper, hits.scores.data(), hits.ids.data());
    else
      whole_.search_rows(reading, row_, 1, deeper, hits.scores.data(), hits.ids.data());
    return hits;
  }

  // Puts hits into their groups; whether one has several values.
  bool add(const Hits& hits) {
    std::vector<Place> at(hits.ids.size());
    for (const Place& place : places(whole_.parts(), hits.ids)) at[place.at] = place;
    bool several = false;
    std::vector<std::string> values;
    for (size_t i = 0; i < hits.ids.size() && hits.ids[i] >= 0; ++i) {
      values.clear();
      columns_[at[i].part]->each_of(at[i].row, [&](std::string value) {
        if (!value.empty() && std::find(values.begin(), values.end(), value) == values.end())
          values.push_back(std::move(value));
      });
      several = several || values.size() > 1;
      for (std::string& value : values) {
        const auto [known, made] = numbers_.try_emplace(value, groups_.size());
        if (made) groups_.push_back({std::move(value), {}});
        std::vector<Hit>& rows = groups_[known->second].rows;
        const auto same = [&](const Hit& hit) { return hit.id == hits.ids[i]; };
        if (rows.size() < size_ && std::none_of(rows.begin(), rows.end(), same))
          rows.push_back({hits.scores[i], hits.ids[i]});
      }
    }
    return several;
  }

  Values found() const {
    Values values;
    for (const Group& group : groups_) values.insert(group.value);
    return values;
  }

  // The rows that have none of some values, or, `having`, one of them.
  const CodeReading& without(const Values& values, bool having = false) {
    reading_.emplace(some_);
    words_.clear();
    for (size_t i = 0; i < reading_->views.size(); ++i) {
      RowFilter& filter = reading_->views[i].filter;
      std::vector<uint64_t>& words =
          words_.emplace_back(columns_[i]->having(values, reading_->views[i].reader->rows()));
      for (size_t w = 0; w < words.size(); ++w)
        words[w] = (having ? words[w] : ~words[w]) & filter.allow.bits64(64 * w);
      filter.allow = view_of(words);
    }
    return *reading_;
  }

  // A group's best rows, however far down they are.
  void complete(Group& group) {
    const Hits best = find(size_, without({group.value}, true));
    std::vector<Hit> rows;
    for (size_t i = 0; i < best.ids.size(); ++i)
      if (best.ids[i] >= 0) rows.push_back({best.scores[i], best.ids[i]});
    if (!rows.empty()) group.rows = std::move(rows);
  }

  // By their best rows, and the rows of each; equal scores by the smaller id.
  void rank() {
    const bool ascending = whole_.metric() == Metric::SquaredDistance;
    const auto before = [&](float a, float b) { return ascending ? a < b : a > b; };
    for (Group& group : groups_)
      std::stable_sort(group.rows.begin(), group.rows.end(), [&](const Hit& a, const Hit& b) {
        return before(a.score, b.score) || (a.score == b.score && a.id < b.id);
      });
    std::stable_sort(groups_.begin(), groups_.end(), [&](const Group& a, const Group& b) {
      return before(a.rows.front().score, b.rows.front().score);
    });
    // The numbers of groups are no more what they were: nothing is added after this.
  }

  const CollectionSnapshot& whole_;
  const CodeReading& some_;
  std::span<const std::shared_ptr<const GroupColumn>> columns_;
  const CollectionSearch& asked_;
  const size_t size_;
  const float* query_ = nullptr;
  const int64_t* row_ = nullptr;
  std::vector<Group> groups_;
  std::unordered_map<std::string, size_t> numbers_;
  std::optional<CodeReading> reading_;        // of the last `without`,
  std::vector<std::vector<uint64_t>> words_;  // and its bits
};

}  // namespace

GroupedSnapshot::GroupedSnapshot(std::shared_ptr<const FilteredSnapshot> some,
                                 std::vector<std::shared_ptr<const GroupColumn>> columns)
    : some_(std::move(some)), columns_(std::move(columns)) {
  const auto& parts = some_->whole().parts();
  if (columns_.size() != parts.size())
    fail(ErrorCode::InvalidArgument,
         "columns are of " + std::to_string(columns_.size()) + " parts: want " + std::to_string(parts.size()));
  for (size_t i = 0; i < parts.size(); ++i) columns_[i]->check(parts[i]->reader->rows());
}

RowGroups GroupedSnapshot::search_groups(const float* queries, const int64_t* of, size_t n,
                                         const CollectionSearch& asked, size_t size) const {
  const CollectionSnapshot& whole = some_->whole();
  const size_t k = asked.k;
  const float worst = whole.metric() == Metric::SquaredDistance ? -kLowest : kLowest;
  RowGroups out{std::vector<float>(n * k * size, worst), std::vector<int64_t>(n * k * size, -1),
                std::vector<std::string>(n * k)};
  for (size_t q = 0; q < n; ++q) {
    Grouping grouping(whole, some_->in_place(), columns_, asked, size);
    std::vector<Group> groups =
        grouping.of(queries == nullptr ? nullptr : queries + q * query_dim(), of == nullptr ? nullptr : of + q);
    for (size_t i = 0; i < groups.size(); ++i) {
      out.values[q * k + i] = std::move(groups[i].value);
      for (size_t r = 0; r < groups[i].rows.size(); ++r) {
        out.scores[(q * k + i) * size + r] = groups[i].rows[r].score;
        out.ids[(q * k + i) * size + r] = groups[i].rows[r].id;
      }
    }
  }
  return out;
}

bool GroupedSnapshot::try_search_groups(const float* queries, const int64_t* of, size_t n,
                                        const CollectionSearch& asked, size_t size, RowGroups& out) const noexcept {
  try {
    out = search_groups(queries, of, n, asked, size);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace bebr
