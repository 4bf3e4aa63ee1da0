#include "index/graph/best_score.h"

#include <algorithm>
#include <cmath>

#include "kernels/floats.h"

namespace bebr {

BestScore::BestScore(const CodeSpace& space, Factor mode)
    : inverse_(space.gram.size()),
      mean_(space.gram.size()),
      distances_(mode == Factor::Sub),
      scale_(space.scale),
      offset_(space.offset) {
  constexpr float kLeast = 1e-4f;  // of the mean: less is what rounding leaves
  float reached = 0;
  for (size_t j = 0; j < inverse_.size(); ++j) {
    inverse_[j] = space.gram[j] > 0 ? 1 / space.gram[j] : 0;
    mean_[j] = space.mean[j] * inverse_[j];
    reached += space.mean[j] * mean_[j];
  }
  const float outside = space.mean_norm - reached;
  if (outside > kLeast * space.mean_norm) outside_ = outside;
}

float BestScore::squared_length(const float* y, float base) const {
  Floats squares = {}, products = {};
  for (size_t j = 0; j < inverse_.size(); j += 4) {  // dims come by eights
    const Floats of = load_floats(y + j);
    squares += of * of * load_floats(inverse_.data() + j);
    products += of * load_floats(mean_.data() + j);
  }
  float length = sum_of(squares), mean = sum_of(products);
  if (distances_) {
    length /= 4 * scale_ * scale_;
    mean /= 2 * scale_;
    base = (base / scale_ + offset_) / 2;
  }
  const float beside = base - mean;
  return outside_ > 0 ? length + beside * beside / outside_ : length;
}

float BestScore::of(const float* y, float base, float longest) const {
  const float squared = squared_length(y, base);
  return distances_ ? scale_ * squared : std::sqrt(squared) * longest;
}

}  // namespace bebr
