// A block of CUDA threads as fibers, and launches of kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "emulate/fiber.h"
#include "emulate/products.h"

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulate {

[[noreturn]] inline void misuse(const char* what) {
  std::fprintf(stderr, "emulated kernel: %s (block %u,%u thread %u)\n", what, blockIdx.x, blockIdx.y, threadIdx.x);
  std::abort();
}

// How kernels run, for all launches that follow. A kernel must be right in every way.
enum class Order { Forward, Backward, Shuffled };
inline Order order = Order::Forward;
inline bool eager = false;  // an asynchronous copy lands as it is issued, not when it is waited for
inline uint64_t seed = 1;

struct Warp {
  uint32_t arrived = 0, mask = 0, operation = 0;
  uint64_t slots[2][32][8] = {};  // what lanes exchange, of alternate operations
  uint64_t sync[2] = {};          // addresses for ThreadSanitizer
};

// Where some threads meet.
struct Barrier {
  size_t arrived = 0;
  uint32_t phase = 0, line = 0;  // line: of the call, where it matters
  uint64_t sync[2] = {};         // addresses for ThreadSanitizer
};

enum class At { Ready, Barrier, Warp, Done };

struct Copy {
  void* to;
  const void* from;
};

constexpr size_t kStack = 64 * 1024;

// Stacks go from one launch to the next: most of the time of a short launch went into new ones.
using Stack = std::unique_ptr<uint8_t[]>;
inline std::vector<Stack>& spare_stacks() {
  static std::vector<Stack> stacks;
  return stacks;
}
inline Stack take_stack() {
  if (spare_stacks().empty()) return Stack(new uint8_t[kStack]);
  Stack stack = std::move(spare_stacks().back());
  spare_stacks().pop_back();
  return stack;
}

struct Thread {
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() {
    spare_stacks().push_back(std::move(stack));
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(tsan);
#endif
  }

  Context context;
  Stack stack = take_stack();
  At at = At::Ready;
  uint32_t turn = 0;  // of this lane's operations
  std::vector<Copy> issued;
  std::deque<std::vector<Copy>> groups;
  std::vector<void*> landed;  // what copies that were waited for have written since the last fence_copies
  Products products;
#if defined(__SANITIZE_THREAD__)
  void* tsan = __tsan_create_fiber(0);
#endif
};

class Block {
 public:
  BEBR_UNSEEN static Block*& current() {
    static Block* block = nullptr;
    return block;
  }

  Block(unsigned threads, size_t shared)
      : threads_(threads),
        warps_((threads + 31) / 32),
        warpgroups_(threads / 128),
        bytes_(shared),
        unfenced_(shared / 16 + 1),
        random_(seed) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { happens_after(&ended_); }

  // One block after the other, each with shared memory of its own, which lives until the launch is over.
  BEBR_UNSEEN void run(dim3 at, const std::function<void()>& kernel);

  BEBR_UNSEEN void* shared() { return start_; }
  BEBR_UNSEEN size_t threads() const { return count_; }
  BEBR_UNSEEN Thread& thread() { return all_[now_]; }
  BEBR_UNSEEN void barrier(uint32_t line) { wait_at(barrier_, 0, count_, line); }
  BEBR_UNSEEN void barrier_apart() { wait_at(apart_, 0, count_, 0); }
  BEBR_UNSEEN void barrier_of_warpgroup() { wait_at(group_[now_ / 128], now_ / 128 * 128, 128, 0); }
  // All lanes of `mask` meet. Returns the slots with what each brought. One meeting an operation is enough: who brings
  // something to the operation after the next has passed the next, where all had read this one's.
  BEBR_UNSEEN uint64_t (*meet(uint32_t mask, uint32_t operation, const uint64_t* bring, size_t count))[8];

  void copy_async16(void* to, const void* from) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 != 0)
      misuse("an asynchronous copy of 16 bytes is not aligned");
    if (eager) std::memcpy(to, from, 16);
    thread().issued.push_back({to, from});
    count_unfenced(to, 1);
  }
  void copy_commit() {
    thread().groups.push_back(std::move(thread().issued));
    thread().issued.clear();
  }
  void copy_wait(size_t behind) {
    auto& groups = thread().groups;
    for (; groups.size() > behind; groups.pop_front())
      for (const Copy& copy : groups.front()) {
        if (!eager) std::memcpy(copy.to, copy.from, 16);
        thread().landed.push_back(copy.to);
      }
  }

  // Shared memory as products by warpgroups see it: by addresses of its own, and what was copied there only behind a
  // fence of the thread that did.
  BEBR_UNSEEN uint32_t address_of(const void* shared) const {
    return kBase + static_cast<uint32_t>(static_cast<const uint8_t*>(shared) - start_);
  }
  void fence_copies() {
    for (void* to : thread().landed) count_unfenced(to, -1);
    thread().landed.clear();
  }
  // 16 bytes of a product's operand.
  BEBR_UNSEEN const void* operand(uint32_t address) const {
    if (address < kBase || address - kBase + 16 > bytes_) misuse("a product reads beyond shared memory");
    if (slot_[(address - kBase) / 16] != 0)
      misuse("a product reads what a copy has not brought, or without a fence of copies behind it");
    return start_ + (address - kBase);
  }

 private:
  static constexpr size_t kGuard = 64;  // bytes behind shared memory, looked at when a block has ended
  static constexpr uint8_t kRubbish = 0xcd, kUntouched = 0xa5;
  static constexpr uint32_t kBase = 1024;  // address of the first byte: the first ones belong to the system

  // count threads from `first` on meet.
  BEBR_UNSEEN void wait_at(Barrier& barrier, size_t first, size_t count, uint32_t line);
  BEBR_UNSEEN void count_unfenced(const void* to, int by) {
    const uint8_t* at = static_cast<const uint8_t*>(to);
    if (at >= start_ && at < start_ + bytes_)
      slot_[(at - start_) / 16] = static_cast<uint16_t>(slot_[(at - start_) / 16] + by);
  }
  BEBR_UNSEEN void make_shared_memory();
  BEBR_UNSEEN void resume(uint32_t i);
  BEBR_UNSEEN void leave(bool forever);
  BEBR_UNSEEN static void enter();

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Barrier> warpgroups_;
  Thread* const all_ = threads_.data();  // what runs unseen by ThreadSanitizer calls no function of the library
  Warp* const warp_ = warps_.data();
  Barrier* const group_ = warpgroups_.data();
  const size_t count_ = threads_.size();
  std::vector<std::unique_ptr<uint8_t, void (*)(void*)>> memory_;
  size_t bytes_;
  uint8_t* start_ = nullptr;
  std::vector<uint16_t> unfenced_;  // copies to each 16 bytes of shared memory that no fence follows
  uint16_t* const slot_ = unfenced_.data();
  std::mt19937_64 random_;
  const std::function<void()>* kernel_ = nullptr;
  Context main_;
  uint32_t now_ = 0;
  Barrier barrier_, apart_;  // of all threads
  uint64_t launched_ = 0, ended_ = 0;
#if defined(__SANITIZE_ADDRESS__)
  const void* main_bottom_ = nullptr;
  size_t main_bytes_ = 0;
#endif
#if defined(__SANITIZE_THREAD__)
  void* main_tsan_ = nullptr;
#endif
};

// One launch at a time, whichever device and thread it is of.
inline std::mutex& launching() {
  static std::mutex mutex;
  return mutex;
}

template <typename Args>
void launch(void (*kernel)(Args), dim3 grid, unsigned threads, size_t shared, const Args& args) {
  const std::lock_guard lock(launching());
  gridDim = grid;
  blockDim = {threads, 1, 1};
  const std::function<void()> body = [&] { kernel(args); };  // outlives the block, whose end waits for all threads
  Block block(threads, shared);
  std::vector<uint32_t> blocks(size_t{grid.x} * grid.y);
  for (uint32_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  std::mt19937_64 random(seed);
  if (order == Order::Backward) std::reverse(blocks.begin(), blocks.end());
  if (order == Order::Shuffled) std::shuffle(blocks.begin(), blocks.end(), random);
  for (const uint32_t b : blocks) block.run({b % grid.x, b / grid.x, 0}, body);
}

}  // namespace emulate
