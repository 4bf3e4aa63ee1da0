// The best score that a row could have for a query, from which a score falls short as rows lie apart.
#pragma once

#include <vector>

#include "code/factor.h"
#include "index/graph/record.h"

namespace bebr {

// Of a query in the space that codes reach, whose columns are taken as orthogonal, as for links (graph/link.h). Squared
// distances: of a row in the query's place. Inner products: of the longest row in its direction.
class BestScore {
 public:
  BestScore(const CodeSpace& space, Factor mode);
  // y: dims floats, as projected for the walk; longest: the length of the longest row.
  float of(const float* y, float base, float longest) const;
  // The query's length in that space, squared; of a document as a query (document_as_query), the row's own.
  float squared_length(const float* y, float base) const;

 private:
  std::vector<float> inverse_, mean_;  // of the columns' squared lengths; times the mean's products with them
  float outside_ = 0;                  // squared length of what no column reaches of the mean
  bool distances_;
  float scale_, offset_;
};

}  // namespace bebr
