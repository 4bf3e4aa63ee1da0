// What a collection holds at one moment, and a search of it: by code over all parts, then exact scores from the vectors
// that are kept. Any number of threads may search.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "collection/candidates.h"
#include "collection/projected.h"
#include "collection/searcher.h"
#include "collection/texts.h"
#include "index/flat/tail.h"
#include "index/raw/raw.h"
#include "index/search.h"
#include "index/segment.h"

namespace bebr {

// The vectors beside the codes of a part, as they are stored (index/raw/raw.h).
struct KeptRows {
  std::vector<const uint8_t*> blocks;
  size_t block_rows = 1;  // rows of each
  // Of an attached file: its vectors, one block in an order of their own. Else they are in that of the rows.
  std::shared_ptr<const RawVectors> apart;
};

// Rows at positions 0 to rows - 1 that never change.
struct CollectionPart {
  std::shared_ptr<const SegmentReader> reader;
  BitmapView hidden;  // rows that no search finds: removed ones, and those without a vector
  size_t hidden_rows = 0;
  BitmapView allow;  // rows that a filter lets through; absent: all
  KeptRows kept;
  // Of rows in memory: what finds ids without putting them in order first, which is done anew for every write.
  std::shared_ptr<const TailRows> tail;
  // What it takes to reach a recall, by k ascending: lists of IVF, candidates of a graph. Between and above two of
  // these it is the power law through both. Empty where every row is looked at.
  ByK efforts;
  std::shared_ptr<const TextColumn> payloads, keys;  // null: no row has one
  std::vector<std::shared_ptr<const void>> owners;   // of what the views look at

  // out[i]: the last position of ids[i]; -1: it is not here.
  void positions(std::span<const int64_t> ids, int64_t* out) const;
  // Lists or candidates of a search for k rows; 0: neither.
  size_t effort(size_t k, const CollectionSearch& asked) const;
};

// What a search by code reads: all rows of a snapshot, or those that a filter lets through, where they stand or copied.
struct CodeReading {
  // Throws Error(InvalidArgument) for a bitmap that does not fit its rows, or no parts. candidates: how many rows the
  // first stage keeps at least.
  CodeReading(std::vector<std::shared_ptr<const CollectionPart>> parts, bool in_place, size_t candidates);

  std::vector<std::shared_ptr<const CollectionPart>> parts;
  std::vector<SegmentView> views;  // of these
  bool in_place;                   // parts are the snapshot's, which have its vectors
  bool has_lists = false, has_filters = false;
  size_t candidates;
  size_t rows = 0;  // that it looks at
};

// One of the engine, whose searches throw Error(Cancelled), and what a search of segments throws (index/search.h);
// those by rows Error(UnknownId), too.
class CodeSearcher : public Searcher {
 public:
  virtual void search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                      int64_t* ids) const = 0;
  virtual void search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                           int64_t* ids) const = 0;
  bool try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                  int64_t* ids) const noexcept final;
  bool try_search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                       int64_t* ids) const noexcept final;
};

class CollectionSnapshot final : public CodeSearcher {
 public:
  struct Settings {
    size_t rows = 0;              // live ones, those without a vector included
    size_t first_stage_rows = 0;  // that the first stage keeps for these, as training measured it
    float margin = 3;             // SearchOptions
    std::optional<RawFormat> kept;
    Candidates candidates;  // where vectors are kept
  };
  // Of one model. Throws Error(InvalidArgument) for a bitmap or vectors that do not fit their rows, or no parts.
  CollectionSnapshot(std::shared_ptr<const QueryModel> model, std::vector<std::shared_ptr<const CollectionPart>> parts,
                     const Settings& settings);

  size_t rows() const noexcept override { return reading_.rows; }
  size_t all_rows() const noexcept { return settings_.rows; }  // those without a vector, too
  const std::vector<std::shared_ptr<const CollectionPart>>& parts() const noexcept { return parts_; }
  Metric metric() const noexcept { return model_->metric(); }
  // Of those of its rows that bitmaps, one a part, let through; they outlive it. Throws Error(InvalidArgument) for one
  // that does not fit its rows, or another number of them.
  CodeReading in_place(std::span<const BitmapView> allow) const;
  size_t query_dim() const noexcept override { return model_->query_dim(); }
  bool keeps_vectors() const noexcept override { return settings_.kept.has_value(); }
  bool has_decoder() const noexcept override { return model_->has_decoder(); }
  size_t candidates(size_t k, std::optional<size_t> rescore) const noexcept override;
  bool keyed() const noexcept override { return keyed_; }
  bool try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept override;
  void search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
              int64_t* ids) const override {
    search(reading_, queries, n, asked, scores, ids);
  }
  void search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                   int64_t* ids) const override {
    search_rows(reading_, of, n, asked, scores, ids);
  }
  // Of some of its rows.
  void search(const CodeReading& reading, const float* queries, size_t n, const CollectionSearch& asked, float* scores,
              int64_t* ids) const;
  void search_rows(const CodeReading& reading, const int64_t* of, size_t n, const CollectionSearch& asked,
                   float* scores, int64_t* ids) const;

 private:
  struct Restricted;
  // Of queries from `first` on, so many, in the model's space: what they are, or what their codes stand for.
  using Vectors = std::function<std::vector<float>(size_t first, size_t count, bool coded)>;
  void search_all(const CodeReading& reading, const Vectors& vectors, size_t n, const CollectionSearch& asked,
                  float* scores, int64_t* ids) const;
  void search_piece(const CodeReading& reading, const Vectors& vectors, size_t first, size_t n,
                    const CollectionSearch& asked, size_t wanted, float* scores, int64_t* ids) const;
  std::vector<float> vectors_of(const int64_t* of, size_t n) const;
  void by_code(const CodeReading& reading, ProjectedQueries& queries, const CollectionSearch& asked, size_t depth,
               bool exact_follows, float* scores, int64_t* ids) const;
  void score_all(const CodeReading& reading, const float* queries, size_t n, const CollectionSearch& asked,
                 float* scores, int64_t* ids) const;
  void rescore(const float* queries, size_t n, const CollectionSearch& asked, const int64_t* found, size_t depth,
               float* scores, int64_t* ids) const;

  std::shared_ptr<const QueryModel> model_;
  CodeReading reading_;
  const std::vector<std::shared_ptr<const CollectionPart>>& parts_ = reading_.parts;
  bool keyed_ = false;
  Settings settings_;
};

// The rows of a snapshot that a filter lets through.
class FilteredSnapshot final : public CodeSearcher {
 public:
  // parts: their codes, which is all of them that is read; they may be copies. allow: the same rows where they stand, a
  // bitmap for each part of the whole. Throws Error(InvalidArgument) as CodeReading and CollectionSnapshot::in_place.
  FilteredSnapshot(std::shared_ptr<const CollectionSnapshot> whole,
                   std::vector<std::shared_ptr<const CollectionPart>> parts, size_t candidates,
                   std::span<const BitmapView> allow, std::vector<std::shared_ptr<const void>> owners)
      : whole_(std::move(whole)),
        owners_(std::move(owners)),
        reading_(std::move(parts), false, candidates),
        in_place_(whole_->in_place(allow)) {}

  size_t rows() const noexcept override { return reading_.rows; }
  size_t query_dim() const noexcept override { return whole_->query_dim(); }
  bool keeps_vectors() const noexcept override { return whole_->keeps_vectors(); }
  bool has_decoder() const noexcept override { return whole_->has_decoder(); }
  size_t candidates(size_t k, std::optional<size_t> rescore) const noexcept override {
    return whole_->candidates(k, rescore);
  }
  bool keyed() const noexcept override { return whole_->keyed(); }
  bool try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept override {
    return whole_->try_texts(ids, n, payloads, out);
  }
  const CollectionSnapshot& whole() const noexcept { return *whole_; }
  const CodeReading& in_place() const noexcept { return in_place_; }
  // As of the whole snapshot.
  void search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
              int64_t* ids) const override {
    whole_->search(reading(asked), queries, n, asked, scores, ids);
  }
  void search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                   int64_t* ids) const override {
    whole_->search_rows(reading(asked), of, n, asked, scores, ids);
  }

 private:
  // Ids that are allowed are found where rows stand, not in copies; so are vectors, where every row gets its score.
  const CodeReading& reading(const CollectionSearch& asked) const noexcept {
    const bool all = keeps_vectors() && candidates(asked.k, asked.rescore) >= in_place_.rows;
    return asked.allow || all ? in_place_ : reading_;
  }

  std::shared_ptr<const CollectionSnapshot> whole_;
  std::vector<std::shared_ptr<const void>> owners_;  // of the bitmaps
  CodeReading reading_, in_place_;
};

}  // namespace bebr
