// What makes a score by bytes an upper bound of the final one.
#pragma once

#include <cmath>
#include <cstddef>

#include "index/byte_queries.h"
#include "index/query.h"

namespace bebr {

// What the score of query q by bytes, before the factor, has to be raised by so that it is no smaller than the final
// one: the bound, and one part in 10^5 for the float arithmetic of select. base: of the query, beside that of its
// bytes.
inline float exact_raise(const ByteQueries& bytes, size_t q, float base) {
  return bytes.bound[q] + 1e-5f * (std::fabs(base) + std::fabs(bytes.base[q]));
}

// An upper bound of what the planes behind the sign plane add to <fine query, v>: the smaller of the L1 and the
// Cauchy-Schwarz bound.
double unread_bound(const CodeSpec& spec, const FineQuery& fine);

}  // namespace bebr
