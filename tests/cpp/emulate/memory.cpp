// cuda/memory.h for emulated kernels: a device whose memory is the machine's own, and holds rubbish at first.
#include "cuda/memory.h"

#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace bebr::cuda {

Status status() { return {{"emulated on the CPU, for tests"}, ""}; }

void use_device(size_t ordinal) {
  if (ordinal > 0) throw Unavailable("there is one emulated device, number 0");
}

size_t multiprocessors() { return 2; }

void* allocate(size_t bytes) {
  void* memory = nullptr;  // not a byte more than asked for: AddressSanitizer sees what goes beyond
  if (posix_memalign(&memory, 256, bytes) != 0)
    fail(ErrorCode::LimitExceeded, "the emulated device has no " + std::to_string(bytes) + " bytes");
  std::memset(memory, 0xcd, bytes);
  return memory;
}

void release(void* memory) noexcept { std::free(memory); }
void upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void download(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void set_bytes(void* at, uint8_t value, size_t bytes) { std::memset(at, value, bytes); }

}  // namespace bebr::cuda
