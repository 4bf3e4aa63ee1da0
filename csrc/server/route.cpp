#include "server/route.h"

#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

namespace bebr {

std::optional<Leaf> Leaf::of(std::string name, const std::string& host, uint16_t port, std::string authorization) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return std::nullopt;
  Leaf leaf;
  leaf.key = name + " " + host + " " + std::to_string(port);
  leaf.name = std::move(name);
  leaf.authorization = std::move(authorization);
  std::memcpy(&leaf.address, found->ai_addr, found->ai_addrlen);
  leaf.size = found->ai_addrlen;
  freeaddrinfo(found);
  return leaf;
}

bool Route::replicated() const noexcept {
  return std::any_of(shards.begin(), shards.end(), [](const Shard& shard) { return shard.leaves.size() > 1; });
}

std::string_view Route::model_at(const Shard& shard, std::string_view model) const noexcept {
  return model.empty() || std::binary_search(models.begin(), models.end(), model) ? shard.model : model;
}

void Routes::set(const std::string& collection, std::shared_ptr<const Route> route) {
  const std::unique_lock lock(mutex_);
  if (route) {
    used = true;
    routes_[collection].swap(route);  // and the one before is let go outside of the lock
  } else if (const auto found = routes_.find(collection); found != routes_.end()) {
    route.swap(found->second);
    routes_.erase(found);
  }
}

std::shared_ptr<const Route> Routes::find(std::string_view collection) const {
  const std::shared_lock lock(mutex_);
  const auto found = routes_.find(collection);
  return found == routes_.end() ? nullptr : found->second;
}

}  // namespace bebr
