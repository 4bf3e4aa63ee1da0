#include "emulate/block.h"

#if defined(__SANITIZE_ADDRESS__)
// The sanitizer would map a second stack for every fiber of every block: two thirds of a run's time. Its library looks
// for the name among those that a program shows.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "detect_stack_use_after_return=0";
}
#endif

namespace emulate {

void Block::make_shared_memory() {
#if defined(__SANITIZE_ADDRESS__)
  const size_t guard = 0;  // the sanitizer sees every access behind the last byte
#else
  const size_t guard = kGuard;
#endif
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, std::max<size_t>(bytes_ + guard, 1)) != 0) misuse("no memory");
  memory_.emplace_back(static_cast<uint8_t*>(memory), std::free);
  start_ = static_cast<uint8_t*>(memory);
  std::memset(start_, kRubbish, bytes_);
  std::memset(start_ + bytes_, kUntouched, guard);
}

void Block::run(dim3 at, const std::function<void()>& kernel) {
  blockIdx = at;
  kernel_ = &kernel;
  current() = this;
  make_shared_memory();
  happens_before(&launched_);
  for (Thread& t : threads_) {
    t.at = At::Ready;
    t.turn = 0;
    t.products.fenced = false;
    t.products.way = 0;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(t.stack.get(), kStack);  // what the block before left, whose functions never returned
#endif
    prepare(t.context, t.stack.get(), kStack, &Block::enter);
  }
  for (Warp& w : warps_) w.arrived = 0;
  for (Barrier& b : warpgroups_) b.arrived = 0;
  barrier_.arrived = apart_.arrived = 0;
  std::fill(unfenced_.begin(), unfenced_.end(), uint16_t{0});
  std::vector<uint32_t> warps(warps_.size()), ready;
  for (uint32_t w = 0; w < warps.size(); ++w) warps[w] = w;
  if (order == Order::Backward) std::reverse(warps.begin(), warps.end());
  // The first warp that can go on does, as far as it comes: threads that keep in step would hide a missing barrier.
  for (size_t i = 0; i < warps.size();) {
    ready.clear();
    for (uint32_t t = 32 * warps[i]; t < std::min<size_t>(32 * warps[i] + 32, count_); ++t)
      if (threads_[t].at == At::Ready) ready.push_back(t);
    if (ready.empty()) {
      ++i;
      continue;
    }
    if (order == Order::Backward) std::reverse(ready.begin(), ready.end());
    if (order == Order::Shuffled) {
      std::shuffle(ready.begin(), ready.end(), random_);
      std::shuffle(warps.begin(), warps.end(), random_);
    }
    for (const uint32_t t : ready) resume(t);
    i = 0;
  }
  for (const Thread& t : threads_)
    if (t.at != At::Done) misuse("threads wait at a barrier or an operation of a warp that others never reach");
  for (size_t i = 0; i < count_; ++i)
    if (all_[i].products.way != all_[i / 128 * 128].products.way) misuse("warps of a warpgroup multiply differently");
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = 0; i < kGuard; ++i)
    if (start_[bytes_ + i] != kUntouched) misuse("a write behind shared memory");
#endif
  current() = nullptr;
}

void Block::wait_at(Barrier& barrier, size_t first, size_t count, uint32_t line) {
  if (barrier.arrived > 0 && barrier.line != line) misuse("threads meet at different barriers");
  barrier.line = line;
  const uint32_t phase = barrier.phase;
  happens_before(&barrier.sync[phase & 1]);
  if (++barrier.arrived == count) {
    barrier.arrived = 0;
    ++barrier.phase;
    for (size_t i = first; i < first + count; ++i) all_[i].at = At::Ready;
  } else {
    all_[now_].at = At::Barrier;
    leave(false);
  }
  happens_after(&barrier.sync[phase & 1]);
}

uint64_t (*Block::meet(uint32_t mask, uint32_t operation, const uint64_t* bring, size_t count))[8] {
  const uint32_t lane = now_ % 32;
  Warp& w = warp_[now_ / 32];
  const uint32_t turn = all_[now_].turn++ & 1;
  if ((mask >> lane & 1) == 0) misuse("a lane takes part in an operation whose mask leaves it out");
  if (w.arrived == 0) {
    w.mask = mask;
    w.operation = operation;
  } else if (w.mask != mask || w.operation != operation) {
    misuse("lanes of a warp meet in different operations");
  }
  for (size_t i = 0; i < count; ++i) w.slots[turn][lane][i] = bring[i];
  happens_before(&w.sync[turn]);
  w.arrived |= 1u << lane;
  if (w.arrived == mask) {
    w.arrived = 0;
    for (uint32_t i = 0; i < 32; ++i)
      if (mask >> i & 1) all_[now_ / 32 * 32 + i].at = At::Ready;
  } else {
    all_[now_].at = At::Warp;
    leave(false);
  }
  happens_after(&w.sync[turn]);
  return w.slots[turn];
}

void Block::resume(uint32_t i) {
  now_ = i;
  threadIdx = {i, 0, 0};
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, all_[i].stack.get(), kStack);
#endif
#if defined(__SANITIZE_THREAD__)
  main_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(all_[i].tsan, __tsan_switch_to_fiber_no_sync);
#endif
  jump(main_, all_[i].context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Block::leave([[maybe_unused]] bool forever) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(forever ? nullptr : &fake, main_bottom_, main_bytes_);
#endif
  Context& mine = all_[now_].context;
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(main_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  jump(mine, main_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Block::enter() {
  Block& block = *current();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block.main_bottom_, &block.main_bytes_);
#endif
  happens_after(&block.launched_);
  (*block.kernel_)();
  Thread& t = block.all_[block.now_];
  if (!t.issued.empty() || !t.groups.empty()) misuse("a thread ends with asynchronous copies that it never waited for");
  if (!t.products.begun.empty() || !t.products.groups.empty())
    misuse("a thread ends with products that it never waited for");
  t.landed.clear();
  t.at = At::Done;
  happens_before(&block.ended_);
  block.leave(true);
  misuse("a finished thread was resumed");
}

}  // namespace emulate
