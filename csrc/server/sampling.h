// Which calls that the front answers get a span, as the sampler of the server behind would have it
// (bebr/serve/tracing.py).
#pragma once

#include <optional>
#include <string_view>

namespace bebr {

// What a traceparent (W3C Trace Context) says of its trace: whether it is being recorded. Absent where it is none.
std::optional<bool> recorded(std::string_view traceparent) noexcept;

struct Sampling {
  double roots = 0;                           // share of the calls that come with no trace
  bool recorded = false, unrecorded = false;  // calls of a trace that is being recorded, and of one that is not

  bool on() const noexcept { return roots > 0 || recorded || unrecorded; }
  // Whether this call is one. Of calls without a trace, chance decides.
  bool chooses(std::string_view traceparent) const;
};

}  // namespace bebr
