// How much processor time the control group of this process may use.
#pragma once

#include <string>

namespace bebr {

// CPUs' worth of time that the control group grants (cgroup v2 cpu.max, v1 cpu.cfs_quota_us), the least of the group
// and those above it; 0: no limit. root: a prefix of /proc and /sys, for tests.
double cpu_quota(const std::string& root = "");

}  // namespace bebr
