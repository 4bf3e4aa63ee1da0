// What the rows of lists have in common, as codes tell it: a model makes vectors of it, by which a copy ranks its lists
// for queries that are far from them (ivf/own_lists.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/rows.h"

namespace bebr {

struct CodeMeans {
  std::vector<uint32_t> lists;  // that have rows, ascending
  std::vector<float> values;    // dims of each: the mean of its rows' values, by their factors where these multiply
  std::vector<float> weights;   // of each: the mean of these factors, or 1

  // Room for so many lists: as far as it goes, append() cannot fail.
  void reserve(const RowFormat& format, size_t count);
  // The mean of these rows of `from` as that of the next list. Of many rows some: their mean is near enough.
  void append(const RowFormat& format, const RowView& from, std::span<const uint32_t> rows, uint32_t list);
};

}  // namespace bebr
