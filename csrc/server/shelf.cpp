// What is published, by collection.
#include <utility>

#include "server/batcher.h"

namespace bebr {

void Shelf::publish(const std::string& collection, const std::string& model, std::shared_ptr<const Searcher> searcher) {
  std::shared_ptr<const Published> made;  // and the one before is let go outside of the lock
  if (searcher) made = std::make_shared<const Published>(collection, model, std::move(searcher));
  const std::unique_lock lock(mutex_);
  if (made)
    published_[collection].swap(made);
  else if (const auto found = published_.find(collection); found != published_.end()) {
    made.swap(found->second);
    published_.erase(found);
  }
}

void Shelf::set_aliases(Aliases aliases) {
  const std::unique_lock lock(mutex_);
  aliases_.swap(aliases);  // and those before are let go outside of the lock
}

std::shared_ptr<const Published> Shelf::find(std::string_view collection) const {
  const std::shared_lock lock(mutex_);
  auto found = published_.find(collection);
  if (found == published_.end() && !aliases_.empty())
    if (const auto alias = aliases_.find(collection); alias != aliases_.end()) found = published_.find(alias->second);
  return found == published_.end() ? nullptr : found->second;
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

BatchingCounts& Shelf::counts(const std::string& collection) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = counts_.find(collection); found != counts_.end()) return *found->second;
  }
  const std::unique_lock lock(mutex_);
  std::unique_ptr<BatchingCounts>& kept = counts_[collection];
  if (!kept) kept = std::make_unique<BatchingCounts>();
  return *kept;
}

}  // namespace bebr
