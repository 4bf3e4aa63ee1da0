// cuda/memory.h for emulated kernels: a device whose memory is the machine's own, and holds rubbish at first.
#include "cuda/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "base/error.h"

namespace bebr::cuda {
namespace {

std::mutex mutex;
std::unordered_map<void*, size_t> sizes;  // of what was allocated
size_t used = 0, all = size_t{1} << 36;
Copied so_far;
std::vector<uint64_t> streams;

}  // namespace

Status status() { return {{"emulated on the CPU, for tests"}, ""}; }

void use_device(size_t ordinal) {
  if (ordinal > 0) throw Unavailable("there is one emulated device, number 0");
}

size_t multiprocessors() { return 2; }

std::optional<size_t> device_of(const void* address) {
  const std::lock_guard lock(mutex);
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const auto& [memory, bytes] : sizes)
    if (const auto first = reinterpret_cast<uintptr_t>(memory); at >= first && at - first < bytes) return 0;
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
  return all - std::min(all, used);
}

void set_memory(size_t bytes) {
  const std::lock_guard lock(mutex);
  all = bytes;
}

void* allocate(size_t bytes) {
  void* memory = nullptr;  // not a byte more than asked for: AddressSanitizer sees what goes beyond
  if (const size_t left = free_memory(); bytes > left || posix_memalign(&memory, 256, bytes) != 0)
    fail_for_memory("an array needs", bytes, left);
  std::memset(memory, 0xcd, bytes);
  const std::lock_guard lock(mutex);
  sizes[memory] = bytes;
  used += bytes;
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(mutex);
  used -= sizes.extract(memory).mapped();
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

}  // namespace bebr::cuda
