// Structs of the sections that are an IVF file's own (ivf/file.cpp).
#pragma once

#include <cstdint>

namespace bebr {

// `coarse`
struct CentroidHeader {
  uint32_t dim, count, by_product;
  uint32_t zero;  // a scale of centroids' products, once: codes of x - c are not supported
};
static_assert(sizeof(CentroidHeader) == 16);

// `lists`
struct ListEntry {
  uint64_t first;  // slot, a multiple of 16
  uint64_t rows;
};
static_assert(sizeof(ListEntry) == 16);

}  // namespace bebr
