// RawVectors: the vectors themselves beside an index of codes, for exact scores of the few best by code. Rows are found
// by id, for those of an index move when others are removed. In memory, or in the index's mapped file (then add is
// refused and remove only marks).
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/file.h"
#include "index/id_map.h"
#include "index/id_order.h"
#include "index/row_filter.h"
#include "index/topk.h"
#include "kernels/kernels.h"

namespace bebr {

enum class RawType : uint32_t { Float16 = 0, Int8 = 1 };

struct RawFormat {
  uint32_t dim = 0;  // 1 to 2^16
  RawType type = RawType::Float16;

  // float16: dim entries. int8: a float, the row's scale, and dim entries of -127 to 127: entry times scale.
  size_t head() const noexcept { return type == RawType::Int8 ? sizeof(float) : 0; }
  size_t stride() const noexcept { return type == RawType::Int8 ? head() + dim : size_t{dim} * 2; }
};

// Writes n rows of x (n * dim floats) as they are stored, n * stride bytes, on all threads. Throws
// Error(InvalidArgument) naming a row with a value that is not finite or, as float16, beyond 65504.
void store_raw(const RawFormat& format, size_t n, const float* x, uint8_t* rows);

// Writes what n rows hold as floats, n * dim, on all threads.
void load_raw(const RawFormat& format, size_t n, const uint8_t* rows, float* x);

// Requests the rows at positions `rows` of `from`, in the order of these, where some of them are not in memory.
void read_ahead(const uint8_t* from, size_t stride, std::span<const int64_t> rows);

// Copies the n rows of `stride` bytes at positions `which` of `from`, on all threads. Those of a mapped file that are
// not in memory are requested before the first is copied.
void take_rows(const uint8_t* from, size_t stride, const int64_t* which, size_t n, uint8_t* to);

// Exact scores of rows as they are stored: inner products, or squared distances. For one thread.
class RawScores {
 public:
  RawScores(RawFormat format, bool squared_distance)
      : format_(format), squared_distance_(squared_distance), kernels_(kernels()) {}

  // The query that score() is about, dim floats; those of float16 rows stay where they are.
  void set(const float* q);
  // out[i]: the exact score of the row at position which[i] of `rows`.
  void score(const uint8_t* rows, std::span<const uint32_t> which, float* out);

  // The k best for q (dim floats) of the rows at positions `which` of `rows`, whose ids are ids[row]; the results as of
  // RawVectors::rescore. k >= 1.
  void best(const float* q, const uint8_t* rows, std::span<const uint32_t> which, const int64_t* ids, size_t k,
            float* scores, int64_t* best_ids);

 private:
  // A query as integers: entry times scale, with sum |entry| * 127 < 2^31 and entries of at most 15 bits.
  struct Integers {
    std::vector<int16_t> entries;
    double scale = 0, square = 0;  // square: of the length
    void set(const float* q, uint32_t dim);
  };
  void score_int8(const uint8_t* rows, std::span<const uint32_t> which, float* out);

  RawFormat format_;
  bool squared_distance_;
  const Kernels& kernels_;
  const float* floats_ = nullptr;
  Integers query_;
  std::vector<float> exact_;
  std::vector<int32_t> dots_, squares_;
};

// The section `raw`.
struct RawHead {
  uint32_t dim, type;
  uint64_t rows;
};

struct RescoreParams {
  size_t candidates = 0;  // of each query, best by code; id -1: none
  size_t k = 10;
  bool squared_distance = false;  // else the inner product
};

class RawVectors {
 public:
  explicit RawVectors(RawFormat format);
  // Whether the file of an index holds such vectors.
  static bool in(const File& file);
  static std::unique_ptr<RawVectors> open(std::shared_ptr<const File> file, bool map);

  const RawFormat& format() const noexcept { return format_; }
  size_t size() const;
  bool mapped() const noexcept { return file_ != nullptr; }
  // Where the vector of an id is, among rows() and row_ids(), all in the same order. For vectors that nobody changes.
  bool find(int64_t id, uint32_t& row) const;
  const uint8_t* rows() const noexcept { return rows_; }
  const int64_t* row_ids() const noexcept { return ids_; }
  std::vector<int64_t> ids() const;

  // x: n * dim floats. Ids must be new, values finite and, as float16, within 65504. All or nothing.
  void add(size_t n, const float* x, const int64_t* ids);
  // Ids not present are passed over; returns how many were removed. All or nothing.
  size_t remove(std::span<const int64_t> ids);
  // What is stored, as floats, ids.size() * dim. Throws Error(UnknownId) for an id that is not here.
  std::vector<float> values(std::span<const int64_t> ids) const;

  // queries: count * dim floats; candidates: count * params.candidates. scores, ids: count * k, best first, equal
  // scores by smaller id; missing results are id -1 and score -inf (squared distance: +inf). A candidate that is not
  // here was removed meanwhile and is no result.
  void rescore(const float* queries, size_t count, const int64_t* candidates, const RescoreParams& params,
               float* scores, int64_t* ids) const;

  // The sections `raw` (RawHead), `raw_rows`, `raw_ids` and `raw_by_id` (uint32 rows in the order of their ids).
  // Nothing is added or removed while this lives.
  class Saved {
   public:
    explicit Saved(const RawVectors& raw);
    void add_to(std::vector<Section>& sections) const;  // spans of this object and of the vectors

   private:
    std::shared_lock<std::shared_mutex> lock_;
    RawHead head_;
    Buffer rows_, ids_;  // of the rows that are left, where some were marked
    std::span<const uint8_t> row_bytes_, id_bytes_;
    std::vector<uint32_t> by_id_;
    friend class RawVectors;
  };
  static bool owns_section(std::string_view name);

 private:
  class Piece;  // raw/score.cpp
  const uint8_t* row(uint32_t at) const noexcept { return rows_ + at * format_.stride(); }
  std::span<const uint8_t> row_bytes(uint32_t at) const noexcept { return {row(at), format_.stride()}; }
  void set_views() noexcept;

  RawFormat format_;
  // Where rows and ids are: in the buffers, or in the file.
  const uint8_t* rows_ = nullptr;
  const int64_t* ids_ = nullptr;
  size_t size_ = 0;
  Buffer row_buffer_, id_buffer_;
  IdMap<uint32_t> row_of_;  // in memory only
  std::shared_ptr<const File> file_;
  IdOrder order_;               // mapped only
  std::vector<uint64_t> dead_;  // mapped: a bit a row, once something was removed
  size_t dead_rows_ = 0;
  mutable std::shared_mutex mutex_;
};

}  // namespace bebr
