// Rows by their ids without a map: binary search in the order of the ids. For rows that never change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bebr {

class IdOrder {
 public:
  IdOrder() = default;
  // by_id: rows in the order of their ids, as a file keeps them; an entry beyond the rows finds nothing. Empty: the ids
  // ascend. Both stay where they are while this lives.
  IdOrder(std::span<const int64_t> ids, std::span<const uint32_t> by_id);
  // The order of any ids, equal ones by row; empty where they ascend.
  static std::vector<uint32_t> of(std::span<const int64_t> ids);

  // The row of an id, the last of several; -1: there is none.
  int64_t find(int64_t id) const noexcept;
  // out[i] = find(ids[i]). Several searches wait for memory together.
  void find_all(std::span<const int64_t> ids, int64_t* out) const noexcept;
  // The rows at up to `count` places of the order, after all ids up to `after` and `skip` places more; -1 for an entry
  // beyond the rows.
  std::vector<int64_t> following(int64_t after, size_t skip, size_t count) const;

 private:
  size_t size() const noexcept { return by_id_.empty() ? ids_.size() : by_id_.size(); }
  // Of the row at a place of the order.
  int64_t row_at(size_t place) const noexcept {
    return by_id_.empty() ? static_cast<int64_t>(place) : int64_t{by_id_[place]};
  }
  int64_t id_at(size_t place) const noexcept {
    const auto row = static_cast<size_t>(row_at(place));
    return row < ids_.size() ? ids_[row] : -1;
  }
  template <size_t N>
  void find_some(const int64_t* ids, int64_t* out) const noexcept;

  std::span<const int64_t> ids_;
  std::span<const uint32_t> by_id_;
};

}  // namespace bebr
