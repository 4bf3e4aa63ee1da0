#include "server/headers.h"

#include <algorithm>
#include <utility>

namespace bebr {

void Headers::add(std::string_view name, std::string_view value) {
  marks_.push_back(
      {static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(name.size()), static_cast<uint32_t>(value.size())});
  text_ += name;
  text_ += value;
}

void Headers::remove(std::string_view name) {
  std::erase_if(marks_, [&](const Mark& mark) { return std::string_view(text_).substr(mark.at, mark.name) == name; });
}

nghttp2_nv entry(std::string_view name, std::string_view value, uint8_t flags) noexcept {
  // Copied, but for lasting ones: whoever holds the text may be gone before it is sent.
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), flags};
}

std::vector<nghttp2_nv> entries(const Headers& headers) {
  std::vector<nghttp2_nv> made;
  made.reserve(headers.size());
  for (size_t i = 0; i < headers.size(); ++i) made.push_back(entry(headers[i].name, headers[i].value));
  return made;
}

std::string_view value_of(const Headers& headers, std::string_view name) {
  for (size_t i = 0; i < headers.size(); ++i)
    if (const auto [key, value] = headers[i]; key == name) return value;
  return {};
}

uint64_t timeout_of(std::string_view text) {
  if (text.empty()) return 0;
  constexpr uint64_t kBad = ~uint64_t{0};
  if (text.size() < 2 || text.size() > 9) return kBad;
  uint64_t value = 0;
  for (const char digit : text.substr(0, text.size() - 1)) {
    if (digit < '0' || digit > '9') return kBad;
    value = 10 * value + static_cast<uint64_t>(digit - '0');
  }
  switch (text.back()) {
    case 'H':
      return std::max<uint64_t>(1, value * 3'600'000'000'000);
    case 'M':
      return std::max<uint64_t>(1, value * 60'000'000'000);
    case 'S':
      return std::max<uint64_t>(1, value * 1'000'000'000);
    case 'm':
      return std::max<uint64_t>(1, value * 1'000'000);
    case 'u':
      return std::max<uint64_t>(1, value * 1'000);
    case 'n':
      return std::max<uint64_t>(1, value);
    default:
      return kBad;
  }
}

std::string timeout_text(uint64_t ns) {
  constexpr uint64_t kMost = 99'999'999;  // eight digits
  for (const auto& [unit, size] : {std::pair{'u', uint64_t{1'000}}, std::pair{'m', uint64_t{1'000'000}}})
    if (ns / size <= kMost) return std::to_string(std::max<uint64_t>(1, ns / size)) + unit;
  return std::to_string(std::min(ns / 1'000'000'000, kMost)) + 'S';
}

bool good_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_.:/+=-").find(c) != std::string_view::npos;
  });
}

}  // namespace bebr
