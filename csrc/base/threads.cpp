#include "base/threads.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/quota.h"

namespace bebr {
namespace {

thread_local bool inside_piece = false;
thread_local bool in_background = false;
std::atomic<uint64_t> calls_of_foreground{0};

// A third of the processor time of a thread that others wait for, where both want it. Not less: what is held up here
// may hold Python's lock, and files have to be merged as fast as rows come. Searches beside a load of 400,000 rows:
// p50 3.9 ms for 4.9, 84 % of them answered within 5 ms for 72 (docs/experiments/searches-beside-loads.md).
[[maybe_unused]] constexpr int kBackgroundNice = 5;

size_t hardware_threads() {
  size_t threads = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) threads = static_cast<size_t>(std::max(1, CPU_COUNT(&set)));
#endif
  const double quota = cpu_quota();
  return quota > 0 ? std::clamp(static_cast<size_t>(std::ceil(quota)), size_t{1}, threads) : threads;
}

std::atomic<size_t>& wanted() {
  static std::atomic<size_t> n{hardware_threads()};
  return n;
}

// One call of parallel_for. Threads take pieces until none is left.
struct Job {
  Job(size_t n_, size_t piece_, const std::function<void(size_t, size_t)>& fn_) : n(n_), piece(piece_), fn(fn_) {}
  const size_t n, piece;
  const std::function<void(size_t, size_t)>& fn;
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::condition_variable idle;
  size_t running = 0;
  std::exception_ptr error;

  void work() noexcept {
    inside_piece = true;
    for (size_t begin; (begin = next.fetch_add(piece)) < n;) {
      try {
        fn(begin, std::min(begin + piece, n));
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        next = n;
      }
    }
    inside_piece = false;
  }
};

class ThreadPool {
 public:
  ~ThreadPool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  void run(Job& job, size_t extra) {
    offer(job, extra);
    wake_.notify_all();
    job.work();
    {
      // Entries no thread has taken yet are withdrawn: other jobs must not delay this one.
      std::lock_guard lock(mutex_);
      const auto mine = std::remove(queue_.begin(), queue_.end(), &job);
      const size_t withdrawn = static_cast<size_t>(queue_.end() - mine);
      queue_.erase(mine, queue_.end());
      std::lock_guard job_lock(job.mutex);
      job.running -= withdrawn;
    }
    std::unique_lock lock(job.mutex);
    job.idle.wait(lock, [&] { return job.running == 0; });
  }

 private:
  // To `extra` threads. Where the system has no more threads or memory to give, to fewer: the caller works as well.
  void offer(Job& job, size_t extra) noexcept {
    const std::lock_guard lock(mutex_);
    try {
      while (threads_.size() < extra) threads_.emplace_back([this] { loop(); });
    } catch (const std::exception&) {
    }
    try {
      for (; job.running < extra; ++job.running) queue_.push_back(&job);
    } catch (const std::bad_alloc&) {
    }
  }

  void loop() {
    for (;;) {
      Job* job = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
        if (stop_) return;
        job = queue_.front();
        queue_.pop_front();
      }
      job->work();
      std::lock_guard lock(job->mutex);
      if (--job->running == 0) job->idle.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> queue_;
  std::vector<std::thread> threads_;
  bool stop_ = false;
};

// For threads that others wait for, and for those of the background. The latter's threads are started by such a thread,
// and so have its priority.
std::atomic<ThreadPool*> current_pools[2];

// In the child of a fork there are no threads but the caller, and locks stay as other threads left them: the pool of
// the parent is neither used nor destroyed.
void forget_pools() {
  for (std::atomic<ThreadPool*>& pool : current_pools) pool = nullptr;
}

ThreadPool& own_pool() {
  static const struct Exit {
    Exit() { pthread_atfork(nullptr, nullptr, forget_pools); }
    ~Exit() {
      for (std::atomic<ThreadPool*>& pool : current_pools) delete pool.exchange(nullptr);
    }
  } at_exit;
  std::atomic<ThreadPool*>& own = current_pools[in_background ? 1 : 0];
  ThreadPool* found = own;
  if (found != nullptr) return *found;
  auto made = std::make_unique<ThreadPool>();
  return *(own.compare_exchange_strong(found, made.get()) ? made.release() : found);
}

}  // namespace

size_t num_threads() { return wanted(); }

void set_num_threads(size_t n) {
  if (n < 1 || n > 1024) fail(ErrorCode::InvalidArgument, "num_threads is " + std::to_string(n) + ": want 1 to 1024");
  wanted() = n;
}

void parallel_for(size_t n, size_t grain, const std::function<void(size_t, size_t)>& fn) {
  if (n == 0) return;
  if (!inside_piece && !in_background) calls_of_foreground.fetch_add(1, std::memory_order_relaxed);
  grain = std::max<size_t>(1, grain);
  const size_t threads = std::min(num_threads(), (n + grain - 1) / grain);
  if (threads <= 1 || inside_piece) {
    fn(0, n);
    return;
  }
  // Sixteen pieces a thread even out unequal progress; a multiple of the grain keeps blocks whole.
  const size_t piece = std::max(grain, (n / (16 * threads) + grain - 1) / grain * grain);
  Job job(n, piece, fn);
  own_pool().run(job, threads - 1);
  if (job.error) std::rethrow_exception(job.error);
}

uint64_t foreground_calls() noexcept { return calls_of_foreground.load(std::memory_order_relaxed); }

void enter_background() noexcept {
  if (std::exchange(in_background, true)) return;
#if defined(__linux__)  // elsewhere it would be the whole program's
  // Below the first thread of the program: this one may have been started by one of the background, and be as low.
  setpriority(PRIO_PROCESS, 0, std::min(getpriority(PRIO_PROCESS, static_cast<id_t>(getpid())) + kBackgroundNice, 19));
#endif
}

}  // namespace bebr
