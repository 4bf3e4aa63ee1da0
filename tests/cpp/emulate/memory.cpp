// cuda/memory.h for emulated kernels: two devices whose memory is the machine's own, and holds rubbish at first.
#include "cuda/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "emulate/block.h"

namespace bebr::cuda {
namespace {

constexpr size_t kDevices = 2;

struct Allocated {
  size_t bytes, device;
};
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

std::mutex mutex;
std::unordered_map<void*, Allocated> allocated, pinned;
size_t used[kDevices], all = size_t{1} << 36, all_pinned = size_t{1} << 36;
std::vector<Copy> begun[kDevices];
Copied so_far;
std::vector<uint64_t> streams;
bool wgmma = false;
thread_local size_t current = 0;

}  // namespace

Status status() { return {{"emulated on the CPU, for tests", "another one"}, ""}; }

OnDevice::OnDevice(size_t ordinal) : before_(current) {
  if (ordinal >= kDevices) fail(ErrorCode::DeviceUnavailable, "there are two emulated devices, numbered from 0");
  current = ordinal;
}

OnDevice::~OnDevice() { current = before_; }

size_t multiprocessors() { return 2; }

bool has_wgmma() {
  const std::lock_guard lock(mutex);
  return wgmma;
}

void set_wgmma(bool has) {
  const std::lock_guard lock(mutex);
  wgmma = has;
}

size_t products_by_wgmma() {
  const std::lock_guard lock(emulate::launching());
  return emulate::products_begun;
}

std::optional<size_t> device_of(const void* address) {
  const std::lock_guard lock(mutex);
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const auto& [memory, about] : allocated)
    if (const auto first = reinterpret_cast<uintptr_t>(memory); at >= first && at - first < about.bytes)
      return about.device;
  return {};
}

void wait_for(uint64_t stream) {
  const std::lock_guard lock(mutex);
  streams.push_back(stream);
}

std::vector<uint64_t> waited() {
  const std::lock_guard lock(mutex);
  return streams;
}

size_t free_memory() {
  const std::lock_guard lock(mutex);
  return all - std::min(all, used[current]);
}

void set_memory(size_t bytes) {
  const std::lock_guard lock(mutex);
  all = bytes;
}

void set_pinned(size_t bytes) {
  const std::lock_guard lock(mutex);
  all_pinned = bytes;
}

void* allocate(size_t bytes) {
  void* memory = nullptr;  // not a byte more than asked for: AddressSanitizer sees what goes beyond
  if (const size_t left = free_memory(); bytes > left || posix_memalign(&memory, 256, bytes) != 0)
    fail_for_memory("an array needs", bytes, left);
  std::memset(memory, 0xcd, bytes);
  const std::lock_guard lock(mutex);
  allocated[memory] = {bytes, current};
  used[current] += bytes;
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(mutex);
  const Allocated about = allocated.extract(memory).mapped();
  used[about.device] -= about.bytes;
  std::free(memory);
}

void* allocate_pinned(size_t bytes) {
  const std::lock_guard lock(mutex);
  size_t held = 0;
  for (const auto& [memory, about] : pinned) held += about.bytes;
  void* memory = nullptr;
  if (bytes > all_pinned - std::min(all_pinned, held) || posix_memalign(&memory, 256, bytes) != 0)
    fail_for_pinned(bytes);
  std::memset(memory, 0xcd, bytes);
  pinned[memory] = {bytes, 0};
  return memory;
}

void release_pinned(void* memory) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(mutex);
  pinned.erase(memory);
  std::free(memory);
}

void upload(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
  const std::lock_guard lock(mutex);
  so_far.up += bytes;
}

void download(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
  const std::lock_guard lock(mutex);
  so_far.down += bytes;
}

Copied copied() {
  const std::lock_guard lock(mutex);
  return so_far;
}

void set_bytes(void* at, uint8_t value, size_t bytes) { std::memset(at, value, bytes); }

void wait_for_kernels() {}  // they have ended when launch returns

// Lands now or when it is waited for: until then what was there is rubbish.
void upload_beside(void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(mutex);
  so_far.up += bytes;
  if (emulate::eager) return void(std::memcpy(to, from, bytes));
  std::memset(to, 0xcd, bytes);
  begun[current].push_back({to, from, bytes});
}

void wait_for_copies() {
  const std::lock_guard lock(mutex);
  for (const Copy& copy : begun[current]) std::memcpy(copy.to, copy.from, copy.bytes);
  begun[current].clear();
}

}  // namespace bebr::cuda
