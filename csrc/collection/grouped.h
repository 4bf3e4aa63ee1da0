// Hits in groups: the best rows of each value of a payload field. bebr/store/search/grouping.py is the specification.
#pragma once

#include <memory>
#include <vector>

#include "collection/group_column.h"
#include "collection/snapshot.h"

namespace bebr {

class GroupedSnapshot final : public CodeSearcher {
 public:
  // some: the rows of a snapshot that have a value and that a filter lets through; columns: the values of each of its
  // parts. Throws Error(InvalidArgument) where these do not fit.
  GroupedSnapshot(std::shared_ptr<const FilteredSnapshot> some,
                  std::vector<std::shared_ptr<const GroupColumn>> columns);

  size_t rows() const noexcept override { return some_->rows(); }
  size_t query_dim() const noexcept override { return some_->query_dim(); }
  bool keeps_vectors() const noexcept override { return some_->keeps_vectors(); }
  bool has_decoder() const noexcept override { return some_->has_decoder(); }
  size_t candidates(size_t k, std::optional<size_t> rescore) const noexcept override {
    return some_->candidates(k, rescore);
  }
  bool keyed() const noexcept override { return some_->keyed(); }
  bool try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept override {
    return some_->try_texts(ids, n, payloads, out);
  }
  // Without groups.
  void search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
              int64_t* ids) const override {
    some_->search(queries, n, asked, scores, ids);
  }
  void search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                   int64_t* ids) const override {
    some_->search_rows(of, n, asked, scores, ids);
  }
  // Throws as a search.
  RowGroups search_groups(const float* queries, const int64_t* of, size_t n, const CollectionSearch& asked,
                          size_t size) const;
  bool try_search_groups(const float* queries, const int64_t* of, size_t n, const CollectionSearch& asked, size_t size,
                         RowGroups& out) const noexcept override;

 private:
  std::shared_ptr<const FilteredSnapshot> some_;
  std::vector<std::shared_ptr<const GroupColumn>> columns_;
};

}  // namespace bebr
