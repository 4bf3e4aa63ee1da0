#include "server/keys.h"

#include <sys/stat.h>

#include <algorithm>

namespace bebr {
namespace {

constexpr std::string_view kScheme = "Bearer ";

// Of which tokens are made (RFC 6750), and names of collections that Python writes as they stand.
bool plain(std::string_view text, std::string_view more) noexcept {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

// In a time that says nothing of where they differ.
bool equal(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  int differ = 0;
  for (size_t i = 0; i < a.size(); ++i) differ |= a[i] ^ b[i];
  return differ == 0;
}

}  // namespace

bool ApiKey::granted(std::string_view collection) const noexcept {
  return !collections || std::binary_search(collections->begin(), collections->end(), collection);
}

std::optional<std::string> ApiKey::refusal(std::string_view collection) const {
  if (collection.empty() || !plain(collection, "_-. /:@")) return std::nullopt;
  std::string text = ungranted;
  if (const size_t at = text.find("{}"); at != std::string::npos) text.replace(at, 2, collection);
  return text;
}

bool KeyTable::current() const noexcept {
  struct stat now{};
  if (stat(path_.c_str(), &now) != 0) return false;
  return stamp_ ==
         FileStamp{now.st_ino, int64_t{now.st_mtim.tv_sec} * 1'000'000'000 + now.st_mtim.tv_nsec, now.st_size};
}

const ApiKey* KeyTable::find(std::string_view token) const noexcept {
  const Sha256 digest = sha256(token);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys_) {
    uint8_t differ = 0;
    for (size_t i = 0; i < digest.size(); ++i) differ |= key.digest[i] ^ digest[i];
    if (differ == 0) found = &key;
  }
  return found;
}

KeyTable::Caller KeyTable::caller(const Headers& headers, Known& known) const {
  std::optional<std::string_view> given;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].name != "authorization") continue;
    if (given) return {};
    given = headers[i].value;
  }
  if (!given) return {nullptr, &missing_};
  const std::string_view value = *given;
  if (value.substr(0, kScheme.size()) != kScheme) return {};
  const std::string_view token = value.substr(kScheme.size());
  if (token.empty() || !plain(token, "-._~+/=")) return {};
  if (known.key != nullptr && equal(known.token, token)) return {known.key, nullptr};
  const ApiKey* const key = find(token);
  if (key == nullptr) return {nullptr, &wrong_};
  known = {std::string(token), key};
  return {key, nullptr};
}

}  // namespace bebr
