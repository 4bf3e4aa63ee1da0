// The thread pool: after a fork, the priority of its threads, and the number of threads under the quota of a control
// group.
#include "base/threads.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "base/quota.h"
#include "check.h"
#include "short_memory.h"

namespace bebr::test {
namespace {

#if !defined(__SANITIZE_THREAD__)  // which refuses threads in the child of a process with threads
size_t sum_of(size_t n) {
  std::atomic<size_t> sum{0};
  parallel_for(n, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) sum += i;
  });
  return sum;
}

BEBR_TEST(a_forked_child_has_threads_of_its_own) {
  const size_t before = num_threads();
  set_num_threads(4);
  CHECK(sum_of(1000) == 499500, "the parent");
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    ::_exit(sum_of(1000) == 499500 ? 0 : 1);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "status " << status);
  CHECK(sum_of(1000) == 499500, "the parent, again");
  set_num_threads(before);
}
#endif

#if defined(__linux__)  // where a thread has a priority of its own
// Of the threads that do some work for this one, this one among them: their nice values. Each has a piece.
std::set<int> nice_values(size_t threads) {
  std::mutex mutex;
  std::set<int> seen;
  std::atomic<size_t> here{0};
  parallel_for(threads, 1, [&](size_t, size_t) {
    ++here;
    while (here < threads) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    seen.insert(::getpriority(PRIO_PROCESS, 0));
  });
  return seen;
}

BEBR_TEST(what_nobody_waits_for_has_a_lower_priority_and_threads_of_its_own) {
  const size_t before = num_threads();
  set_num_threads(3);
  const int own = ::getpriority(PRIO_PROCESS, 0), lower = std::min(own + 5, 19);
  const std::set<int> first = nice_values(3);
  std::set<int> background, started_there;
  std::thread([&] {
    enter_background();
    background = nice_values(3);
    std::thread([&] {
      enter_background();  // which is as low already
      started_there = nice_values(3);
    }).join();
  }).join();
  const std::set<int> beside = nice_values(3);
  set_num_threads(before);
  const auto check = [](const std::set<int>& seen, int wanted, const char* what) {
    CHECK(seen == std::set<int>{wanted}, what << ": " << *seen.begin() << " to " << *seen.rbegin());
  };
  check(first, own, "at first");
  check(background, lower, "in the background");
  check(started_there, lower, "started by a thread of the background");
  check(beside, own, "beside it");
}
#endif

BEBR_TEST(the_quota_of_a_control_group_is_found) {
  namespace fs = std::filesystem;
  const fs::path root = fs::temp_directory_path() / ("bebr-quota-" + std::to_string(::getpid()));
  const auto write = [&](const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  CHECK(cpu_quota(root.string()) == 0, "no files");
  write("proc/self/cgroup", "0::/a/b\n");
  CHECK(cpu_quota(root.string()) == 0, "no limit");
  write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  CHECK(cpu_quota(root.string()) == 1.5, "v2, the group above");
  write("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/host/path\n0::/\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(cpu_quota(root.string()) == 0, "v1, no limit");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  CHECK(cpu_quota(root.string()) == 2, "v1, a container");
  fs::remove_all(root);
}

// Work that cannot be handed out is done by the caller.
BEBR_TEST(parallel_for_does_all_of_it_where_memory_is_short) {
  const size_t before = num_threads();
  set_num_threads(100);
  std::atomic<size_t> sum{0};
  const std::function<void(size_t, size_t)> count = [&](size_t begin, size_t end) { sum += end - begin; };
  parallel_for(1000, 1, count);             // threads are there
  for (int call = 0; call < 200; ++call) {  // the queue takes new memory every 64 entries
    const ShortMemory memory(0);
    sum = 0;
    parallel_for(1000, 1, count);
    CHECK(sum == 1000, "call " << call << ", " << sum.load());
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace bebr::test
