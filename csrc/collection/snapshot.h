// What a collection holds at one moment, and a search of it: by code over all parts, then exact scores from the vectors
// that are kept. Any number of threads may search.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "binarizer/queries.h"
#include "collection/searcher.h"
#include "index/flat/tail.h"
#include "index/raw/raw.h"
#include "index/search.h"
#include "index/segment.h"

namespace bebr {

// The vectors beside the codes of a part, as they are stored (index/raw/raw.h).
struct KeptRows {
  std::vector<const uint8_t*> blocks;
  size_t block_rows = 1;  // rows of each
};

// Rows at positions 0 to rows - 1 that never change.
struct CollectionPart {
  std::shared_ptr<const SegmentReader> reader;
  BitmapView hidden;  // rows that no search finds: removed ones, and those without a vector
  size_t hidden_rows = 0;
  KeptRows kept;
  // Of rows in memory: what finds ids without putting them in order first, which is done anew for every write.
  std::shared_ptr<const TailRows> tail;
  // What it takes to reach a recall, by k ascending: lists of IVF, candidates of a graph. Between and above two of
  // these it is the power law through both. Empty where every row is looked at.
  std::vector<std::pair<size_t, size_t>> efforts;
  std::vector<std::shared_ptr<const void>> owners;  // of what the views look at

  // out[i]: the last position of ids[i]; -1: it is not here.
  void positions(std::span<const int64_t> ids, int64_t* out) const;
  // Lists or candidates of a search for k rows; 0: neither.
  size_t effort(size_t k) const;
};

class CollectionSnapshot final : public Searcher {
 public:
  struct Settings {
    size_t rows = 0;              // live ones, those without a vector included
    size_t first_stage_rows = 0;  // that the first stage keeps for these, as training measured it
    float margin = 3;             // SearchOptions
    std::optional<RawFormat> kept;
  };
  // Of one model. Throws Error(InvalidArgument) for a bitmap or vectors that do not fit their rows, or no parts.
  CollectionSnapshot(std::shared_ptr<const QueryModel> model, std::vector<std::shared_ptr<const CollectionPart>> parts,
                     const Settings& settings);

  size_t rows() const noexcept override { return searched_; }
  size_t query_dim() const noexcept override { return model_->query_dim(); }
  bool keeps_vectors() const noexcept override { return settings_.kept.has_value(); }
  bool has_decoder() const noexcept override { return model_->has_decoder(); }
  size_t candidates(size_t k, std::optional<size_t> rescore) const noexcept override;
  bool try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                  int64_t* ids) const noexcept override;
  // The same; throws Error(Cancelled), and what a search of segments throws (index/search.h).
  void search(const float* queries, size_t n, const CollectionSearch& asked, float* scores, int64_t* ids) const;

 private:
  struct Prepared;
  void search_piece(const float* queries, size_t n, const CollectionSearch& asked, size_t wanted, float* scores,
                    int64_t* ids) const;
  void by_code(const Prepared& prepared, const CollectionSearch& asked, size_t depth, bool exact_follows, float* scores,
               int64_t* ids) const;
  void rescore(const float* queries, size_t n, const CollectionSearch& asked, const int64_t* found, size_t depth,
               float* scores, int64_t* ids) const;

  std::shared_ptr<const QueryModel> model_;
  std::vector<std::shared_ptr<const CollectionPart>> parts_;
  std::vector<SegmentView> views_;
  bool has_lists_ = false;
  Settings settings_;
  size_t searched_ = 0;  // rows that have a vector
};

}  // namespace bebr
