// A small thread pool. OpenMP is not used: two OpenMP runtimes in one process (torch, faiss) crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace bebr {

// Threads that parallel_for may use, the caller's included. Starts at the number of hardware threads this process may
// run on, by its affinity and by the quota of its control group, rounded up.
size_t num_threads();
void set_num_threads(size_t n);  // throws Error(InvalidArgument) unless 1 <= n <= 1024

// Calls fn(begin, end) over disjoint pieces that cover [0, n), each at least `grain` long but for the last. fn may
// throw: the first exception is rethrown here after every piece has ended. A call from inside a piece runs in that
// thread alone. After fork() the child starts threads of its own.
// A thread of the background is helped by threads of the background alone, which others do not wait for.
void parallel_for(size_t n, size_t grain, const std::function<void(size_t begin, size_t end)>& fn);

// How often threads that others wait for have begun a parallel_for so far: where it stays, nobody asks for anything.
uint64_t foreground_calls() noexcept;

// Makes the calling thread one of the background, for good: it does what nobody waits for. Where processors are short,
// the threads of all programs go before it (on Linux its nice value rises by 5).
void enter_background() noexcept;

}  // namespace bebr
