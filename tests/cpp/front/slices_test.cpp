// Threads that answer ask for short slices, and keep their policy.
#include "server/slices.h"

#include <sched.h>
#include <sys/utsname.h>

#include <cstdio>

#include "../check.h"

namespace bebr::test {
namespace {

BEBR_TEST(a_thread_may_ask_for_short_slices) {
  utsname system{};
  CHECK(uname(&system) == 0, "no name of the system");
  int major = 0, minor = 0;
  CHECK(std::sscanf(system.release, "%d.%d", &major, &minor) == 2, system.release);
  const bool granted = ask_for_short_slices();
  CHECK(granted == (major > 6 || (major == 6 && minor >= 12)), "Linux " << system.release << ", granted: " << granted);
  CHECK(sched_getscheduler(0) == SCHED_OTHER, "another policy");
}

}  // namespace
}  // namespace bebr::test
