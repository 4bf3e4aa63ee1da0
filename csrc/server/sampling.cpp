#include "server/sampling.h"

#include <algorithm>
#include <random>

namespace bebr {
namespace {

// version-trace-span-flags in lower hexadecimal digits.
constexpr std::string_view kForm = "00-00000000000000000000000000000000-0000000000000000-00";
constexpr size_t kTrace = 3, kTraceSize = 32, kSpan = 36, kSpanSize = 16;

bool digit(char c) noexcept { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }
bool zeros(std::string_view digits) noexcept { return digits.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

std::optional<bool> recorded(std::string_view traceparent) noexcept {
  if (traceparent.size() < kForm.size()) return std::nullopt;
  for (size_t i = 0; i < kForm.size(); ++i)
    if (kForm[i] == '-' ? traceparent[i] != '-' : !digit(traceparent[i])) return std::nullopt;
  const std::string_view version = traceparent.substr(0, 2), more = traceparent.substr(kForm.size());
  if (version == "ff" || (!more.empty() && (version == "00" || more.front() != '-'))) return std::nullopt;
  if (zeros(traceparent.substr(kTrace, kTraceSize)) || zeros(traceparent.substr(kSpan, kSpanSize))) return std::nullopt;
  return std::string_view("13579bdf").find(traceparent[kForm.size() - 1]) != std::string_view::npos;
}

bool Sampling::chooses(std::string_view traceparent) const {
  if (const std::optional<bool> said = bebr::recorded(traceparent)) return *said ? recorded : unrecorded;
  if (roots >= 1 || roots <= 0) return roots > 0;
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::uniform_real_distribution<double>{}(random) < roots;
}

}  // namespace bebr
