// Fine queries as bytes: the sums of kernel `complete`, to the bit, by products with rows that are expanded once for
// all queries (Kernels::expand, dot_expanded).
#pragma once

#include <cstddef>
#include <cstdint>

#include "code/spec.h"
#include "index/query.h"

namespace bebr {

// y = 256 high + low, y8_stride(groups) bytes of each, zero where they have none. False where a value is too large for
// that: then neither is to be used.
bool split_fine(const CodeSpec& spec, const FineQuery& query, int8_t* high, int8_t* low);

// What `complete` gives of rows over all planes, by their products with both.
void join_products(const CodeSpec& spec, const FineQuery& query, const int32_t* high, const int32_t* low, size_t rows,
                   int32_t* sums);

}  // namespace bebr
