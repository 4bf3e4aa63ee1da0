#include "base/quota.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace bebr {
namespace {

// cpu.max holds "quota period" or "max period".
double limit_v2(const std::string& folder) {
  double quota = 0, period = 0;
  std::ifstream file(folder + "/cpu.max");
  return file >> quota >> period && period > 0 ? quota / period : 0;
}

// A quota of -1: no limit.
double limit_v1(const std::string& folder) {
  double quota = 0, period = 0;
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return period > 0 ? quota / period : 0;
}

// Of `group` ("/a/b") below the mount point and of all groups above it. In a container the path may be the host's,
// which is not there; the mount point itself is then the container's group.
template <typename Limit>
double least(const std::string& mount, std::string group, const Limit& limit) {
  double found = 0;
  while (true) {
    const double here = limit(mount + group);
    if (here > 0) found = found > 0 ? std::min(found, here) : here;
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return found;
    group.resize(slash);
  }
}

bool lists_cpu(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');)
    if (name == "cpu") return true;
  return false;
}

}  // namespace

// Lines of /proc/self/cgroup: "number:controllers:/group"; version 2 is number 0 without controllers.
double cpu_quota(const std::string& root) {
  std::ifstream groups(root + "/proc/self/cgroup");
  const std::string mounts = root + "/sys/fs/cgroup";
  double found = 0;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    double here = 0;
    if (controllers.empty())
      here = least(mounts, group, limit_v2);
    else if (lists_cpu(controllers))
      here = std::max(least(mounts + "/cpu", group, limit_v1), least(mounts + "/" + controllers, group, limit_v1));
    if (here > 0) found = found > 0 ? std::min(found, here) : here;
  }
  return found;
}

}  // namespace bebr
