#include "index/graph/duplicates.h"

#include <algorithm>
#include <functional>
#include <string_view>

#include "base/threads.h"

namespace bebr {

Duplicates::Duplicates(const GraphView& view, std::span<const uint32_t> slots, size_t most)
    : most_(most), by_hash_(slots.size()), hashes_(slots.size()), slots_(slots) {
  parallel_for(slots.size(), 256, [&](size_t begin, size_t end) {
    std::vector<uint8_t> code(view.layout.spec.row_bytes());
    for (size_t i = begin; i < end; ++i) {
      view.layout.get_code(view.record(slots[i]), code.data());
      hashes_[i] = std::hash<std::string_view>()({reinterpret_cast<const char*>(code.data()), code.size()});
      by_hash_[i] = {hashes_[i], slots[i]};
    }
  });
  std::sort(by_hash_.begin(), by_hash_.end());
}

void Duplicates::append(size_t i, std::vector<uint32_t>& nodes) const {
  const auto at = std::lower_bound(by_hash_.begin(), by_hash_.end(), std::pair{hashes_[i], slots_[i]});
  const auto place = static_cast<size_t>(at - by_hash_.begin());
  for (size_t n = 1; n <= most_ && n <= place && by_hash_[place - n].first == hashes_[i]; ++n)
    nodes.push_back(by_hash_[place - n].second);
  for (size_t n = 1; n <= most_ && place + n < by_hash_.size() && by_hash_[place + n].first == hashes_[i]; ++n)
    nodes.push_back(by_hash_[place + n].second);
}

}  // namespace bebr
