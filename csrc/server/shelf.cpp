// What is published, by collection.
#include <random>
#include <utility>

#include "server/batcher.h"

namespace bebr {
namespace {

constexpr size_t kMostListings = 4, kListingBytes = 64 << 10;  // that are kept; of one

}  // namespace

Shelf::Shelf(const Bounds& bounds, size_t loops)
    : bounds_(bounds),
      loops_(loops),
      unnamed_(std::make_shared<CollectionCounts>(bounds, loops)),
      state_((uint64_t{std::random_device()()} << 31) + 1) {}

void Shelf::changed() noexcept {
  ++state_;
  listings_.clear();
}

uint64_t Shelf::state() const {
  const std::shared_lock lock(mutex_);
  return state_;
}

void Shelf::keep_listing(uint64_t state, const std::string& request, std::string reply) {
  if (reply.size() > kListingBytes) return;
  auto made = std::make_shared<const std::string>(std::move(reply));
  const std::unique_lock lock(mutex_);
  if (state == state_ && listings_.size() < kMostListings) listings_[request] = std::move(made);
}

std::shared_ptr<const std::string> Shelf::listing(std::string_view request) const {
  const std::shared_lock lock(mutex_);
  const auto found = listings_.find(request);
  return found == listings_.end() ? nullptr : found->second;
}

void Shelf::publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher) {
  std::shared_ptr<const Published> made;  // and the one before is let go outside of the lock
  const std::unique_lock lock(mutex_);
  changed();
  std::shared_ptr<CollectionCounts>& counts = counts_[collection];
  if (!counts) counts = std::make_shared<CollectionCounts>(bounds_, loops_);
  if (searcher) {
    made = std::make_shared<const Published>(collection, model, std::move(searcher), counts);
    published_[collection].swap(made);
  } else if (const auto found = published_.find(collection); found != published_.end()) {
    made.swap(found->second);
    published_.erase(found);
  }
}

void Shelf::set_aliases(Aliases aliases) {
  const std::unique_lock lock(mutex_);
  changed();
  aliases_.swap(aliases);  // and those before are let go outside of the lock
}

template <typename Map>
auto Shelf::at(const Map& map, std::string_view collection) const {
  const auto found = map.find(collection);
  if (found != map.end() || aliases_.empty()) return found;
  const auto alias = aliases_.find(collection);
  return alias == aliases_.end() ? map.end() : map.find(alias->second);
}

std::shared_ptr<const Published> Shelf::find(std::string_view collection) const {
  const std::shared_lock lock(mutex_);
  const auto found = at(published_, collection);
  return found == published_.end() ? nullptr : found->second;
}

void Shelf::forget(const std::string& collection) {
  const std::unique_lock lock(mutex_);
  changed();
  const auto found = counts_.find(collection);
  if (found == counts_.end()) return;
  found->second->gone = true;
  counts_.erase(found);
}

std::shared_ptr<CollectionCounts> Shelf::counts(std::string_view collection) const {
  const std::shared_lock lock(mutex_);
  const auto found = at(counts_, collection);
  return found == counts_.end() ? unnamed_ : found->second;
}

void Shelf::count(CollectionCounts& of, size_t loop, Ended call) const {
  if (!of.gone) return of.add(loop, call);
  call.batch = 0;  // searches of no collection are not counted
  unnamed_->add(loop, call);
}

std::vector<CallFigures> Shelf::figures() const {
  std::vector<CallFigures> made;
  const auto add = [&](const std::string& name, const CollectionCounts& counts) {
    CallFigures figures;
    figures.collection = name;
    if (counts.add_to(figures)) made.push_back(std::move(figures));
  };
  add("", *unnamed_);
  const std::shared_lock lock(mutex_);
  for (const auto& [name, counts] : counts_) add(name, *counts);
  return made;
}

std::shared_ptr<const Searcher> Published::searcher(const std::optional<std::string_view>& filter) const {
  if (!filter) return searcher_;
  const std::lock_guard lock(mutex_);
  const auto found = filtered_.find(*filter);
  return found == filtered_.end() ? nullptr : found->second;
}

bool Published::add(const Searcher& of, const std::string& filter, std::shared_ptr<const Searcher> rows) const {
  if (&of != searcher_.get()) return false;
  const std::lock_guard lock(mutex_);
  if (rows)
    filtered_[filter].swap(rows);  // and the one before is let go outside of the lock
  else if (const auto found = filtered_.find(filter); found != filtered_.end()) {
    rows.swap(found->second);
    filtered_.erase(found);
  }
  return true;
}

}  // namespace bebr
