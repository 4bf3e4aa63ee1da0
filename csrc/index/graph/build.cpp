// Insertion, in rounds (as ParlayANN, Manohar et al., PPoPP 2024): every node of a round walks the graph as it stood
// before the round, then links back are added target by target. So no node is locked, and the graph is the same
// whatever the number of threads.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/threads.h"
#include "index/graph/duplicates.h"
#include "index/graph/link.h"
#include "index/graph/rows.h"
#include "index/graph/walk.h"

namespace bebr {
namespace {

constexpr size_t kRoundShare = 50;  // a round adds at most one node to so many
constexpr size_t kKeepShare = 64;   // fewer new rows than one in so many: vectors are made as they are needed
constexpr float kBuildMargin = 2;   // standard deviations, of first lines and of neighbours' bytes alike
constexpr float kNoFactor = std::numeric_limits<float>::quiet_NaN();  // no score, so no walk enters a free slot

// The links of a record from number `first` on. Bytes of a neighbour go before its link, and stay where that does.
void store_links(const GraphView& view, uint8_t* record, std::span<const uint32_t> links, uint32_t first = 0) {
  const RecordLayout& layout = view.layout;
  const auto count = static_cast<uint32_t>(links.size());
  const auto changed = [&](uint32_t i) { return load_link(record + layout.links + 4 * i) != links[i]; };
  if (layout.near > 0) {
    for (uint32_t i = first; i < count; ++i) {
      if (!changed(i)) continue;
      __builtin_prefetch(view.record(links[i]));
      __builtin_prefetch(view.record(links[i]) + layout.factors);
    }
    for (uint32_t i = first; i < count; ++i)
      if (changed(i)) put_neighbour(layout, record, i, view.record(links[i]));
  }
  for (uint32_t i = first; i < layout.degree; ++i)
    store_link(record + layout.links + 4 * i, i < count ? links[i] : kNoLink);
}

}  // namespace

// The largest norm of some slots, where norms are augmented.
float GraphRows::longest(std::span<const uint32_t> slots) const {
  if (!space_.augment_norm) return 0;
  const GraphView graph = view({});
  const Int8Vectors vectors(layout_, graph.mode, space_, 0);
  float largest = 0;
  for (const uint32_t slot : slots) largest = std::max(largest, vectors.norm_of(graph.record(slot)));
  return largest;
}

float GraphRows::reach() {
  if (reach_ < 0) {
    std::vector<uint32_t> all;
    for (size_t slot = 0; slot < rows_; ++slot)
      if (ids_.as<int64_t>()[slot] >= 0 && !gone(slot)) all.push_back(static_cast<uint32_t>(slot));
    reach_ = longest(all);
  }
  return reach_;
}

void GraphRows::link_all(std::span<const uint32_t> slots, std::shared_mutex& mutex) {
  std::shared_lock lock(mutex);
  if (reach_ >= 0) reach_ = std::max(reach_, longest(slots));
  Int8Vectors vectors(layout_, view({}).mode, space_, reach());
  if (slots.size() >= rows_ / kKeepShare) vectors.keep_all(view({}));
  std::vector<uint64_t> closed(rows_ / 64 + 1);  // free, or not linked yet
  for (const uint32_t slot : slots) closed[slot / 64] |= uint64_t{1} << slot % 64;
  for (const uint32_t slot : free_) closed[slot / 64] |= uint64_t{1} << slot % 64;
  std::vector<std::pair<uint32_t, uint32_t>> back;  // target, new node
  std::vector<size_t> targets;                      // where each target begins in `back`
  for (size_t done = 0; done < slots.size();) {
    const size_t before = live_ + removed_.size() + done;
    const size_t round = std::min(std::max<size_t>(before / kRoundShare, 1), slots.size() - done);
    const std::span<const uint32_t> now = slots.subspan(done, round);
    const GraphView graph = view(closed);
    const Duplicates same(graph, now, Linker::most_duplicates(layout_.degree));
    parallel_for(round, 8, [&](size_t begin, size_t end) {
      Linker linker(graph, space_, vectors);
      std::vector<uint32_t> candidates;
      walk_each(
          graph, begin, end, {params_.ef_construction, kBuildMargin},
          [&](size_t i, BitQuery& query) {
            linker.as_query(now[i], query);
            return WalkBound{};
          },
          [&](size_t i, const Walk& walk) {
            const uint32_t slot = now[i];
            candidates.clear();
            for (size_t c = 0; c < walk.found.size(); ++c) {
              const uint32_t node = walk.found[c].node;
              if (node != slot && !gone(node)) candidates.push_back(node);
            }
            same.append(i, candidates);
            linker.prune(slot, candidates, layout_.degree);
            store_links(graph, record(slot), candidates);
          });
    });

    back.clear();
    for (const uint32_t slot : now) {
      for (uint32_t i = 0; i < layout_.degree; ++i) {
        const uint32_t target = load_link(record(slot) + layout_.links + 4 * i);
        if (target == kNoLink) break;
        back.emplace_back(target, slot);
      }
      closed[slot / 64] &= ~(uint64_t{1} << slot % 64);
      segment_->linked() = std::max<size_t>(segment_->linked(), slot + size_t{1});
    }
    std::sort(back.begin(), back.end());
    targets.clear();
    for (size_t i = 0; i < back.size(); ++i)
      if (i == 0 || back[i].first != back[i - 1].first) targets.push_back(i);
    targets.push_back(back.size());
    const GraphView grown = view(closed);
    parallel_for(targets.size() - 1, 16, [&](size_t begin, size_t end) {
      Linker linker(grown, space_, vectors);
      std::vector<uint32_t> links;
      for (size_t t = begin; t < end; ++t) {
        const uint32_t target = back[targets[t]].first;
        links.resize(layout_.degree);
        links.resize(grown.links(target, links.data()));
        const size_t old = links.size();
        for (size_t i = targets[t]; i < targets[t + 1]; ++i) links.push_back(back[i].second);
        if (links.size() <= layout_.degree) {
          store_links(grown, record(target), links, static_cast<uint32_t>(old));
          continue;
        }
        linker.prune(target, links, layout_.degree);
        store_links(grown, record(target), links);
      }
    });
    done += round;
  }
}

// Every node that links to removed ones chooses new links, from its other links and theirs.
void GraphRows::repair(std::shared_mutex& mutex) {
  {
    std::shared_lock lock(mutex);
    Int8Vectors vectors(layout_, view({}).mode, space_, reach());
    if (removed_.size() >= rows_ / kKeepShare) vectors.keep_all(view({}));
    const auto is_gone = [this](uint32_t slot) { return gone(slot); };
    const GraphView graph = view({});
    parallel_for(rows_, 256, [&](size_t begin, size_t end) {
      Linker linker(graph, space_, vectors);
      std::vector<uint32_t> links(layout_.degree), further(layout_.degree), near;
      for (size_t s = begin; s < end; ++s) {
        const auto slot = static_cast<uint32_t>(s);
        if (is_gone(slot)) continue;
        const size_t n = graph.links(slot, links.data());
        if (std::none_of(links.begin(), links.begin() + static_cast<ptrdiff_t>(n), is_gone)) continue;
        near.clear();
        for (size_t i = 0; i < n; ++i) {
          if (!is_gone(links[i])) {
            near.push_back(links[i]);
            continue;
          }
          const size_t m = graph.links(links[i], further.data());
          for (size_t j = 0; j < m; ++j)
            if (!is_gone(further[j]) && further[j] != slot) near.push_back(further[j]);
        }
        std::sort(near.begin(), near.end());
        near.erase(std::unique(near.begin(), near.end()), near.end());
        linker.prune(slot, near, layout_.degree);
        store_links(graph, record(slot), near);
      }
    });
  }
  std::unique_lock lock(mutex);
  free_.reserve(free_.size() + removed_.size());
  for (const uint32_t slot : removed_) {
    std::memset(record(slot), 0, layout_.stride);
    std::memcpy(record(slot), &kNoFactor, sizeof kNoFactor);
    for (uint32_t i = 0; i < layout_.degree; ++i) store_link(record(slot) + layout_.links + 4 * i, kNoLink);
    ids_.as<int64_t>()[slot] = -1;
  }
  free_.insert(free_.end(), removed_.begin(), removed_.end());
  removed_.clear();
  gone_.clear();
  if (live_ == 0) {
    nodes_.resize(0);
    ids_.resize(0);
    free_.clear();
    hidden_.clear();
    rows_ = 0;
    segment_->linked() = 0;
  }
  changed();
}

}  // namespace bebr
