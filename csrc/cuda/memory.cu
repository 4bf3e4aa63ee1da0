// The only file that asks CUDA for memory or for devices.
#include <cuda_runtime.h>

#include <mutex>
#include <vector>

#include "cuda/device.h"
#include "cuda/memory.h"

namespace bebr::cuda {
namespace {

constexpr int kOldestDriver = 13000;  // CUDA 13.0, driver 580: what the compiler of this build wants
constexpr int kOldestDevice = 8;      // compute capability

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Of the device in use. Not in step with the default stream, which kernels run on: else nothing would run beside them.
cudaStream_t copy_stream() {
  static std::mutex mutex;
  static std::vector<cudaStream_t> streams;
  int device = 0;
  check(cudaGetDevice(&device), "the device in use");
  const std::lock_guard lock(mutex);
  if (streams.size() <= static_cast<size_t>(device)) streams.resize(static_cast<size_t>(device) + 1);
  cudaStream_t& stream = streams[static_cast<size_t>(device)];
  if (stream == nullptr) check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream for copies");
  return stream;
}

}  // namespace

Status status() {
  int version = 0, count = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0) return {{}, "no driver"};
  if (version < kOldestDriver)
    return {{}, "driver " + version_text(version) + " is too old: want >= " + version_text(kOldestDriver) + " (580)"};
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0)
    return {{}, error == cudaSuccess || error == cudaErrorNoDevice ? "no device" : cudaGetErrorString(error)};
  Status found;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp about{};
    check(cudaGetDeviceProperties(&about, i), "properties of a device");
    const std::string sm = "sm_" + std::to_string(about.major) + std::to_string(about.minor);
    const bool wgmma = about.major == 9 && about.minor == 0;
    if (about.major < kOldestDevice) return {{}, std::string(about.name) + " is " + sm + ": want sm_80 or newer"};
    found.devices.push_back(std::string(about.name) + ", " + sm + (wgmma ? " with wgmma, " : ", ") +
                            std::to_string(about.totalGlobalMem >> 30) + " GiB");
  }
  return found;
}

OnDevice::OnDevice(size_t ordinal) {
  const Status found = status();
  if (found.devices.empty()) fail(ErrorCode::DeviceUnavailable, found.why);
  if (ordinal >= found.devices.size())
    fail(ErrorCode::DeviceUnavailable,
         "there are " + std::to_string(found.devices.size()) + " devices, numbered from 0");
  int before = 0;
  check(cudaGetDevice(&before), "the device in use");
  before_ = static_cast<size_t>(before);
  check(cudaSetDevice(static_cast<int>(ordinal)), "the choice of a device");
}

OnDevice::~OnDevice() { cudaSetDevice(static_cast<int>(before_)); }

size_t multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "the device in use");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "multiprocessors of a device");
  return static_cast<size_t>(count);
}

bool has_wgmma() {
  int device = 0, major = 0, minor = 0;
  check(cudaGetDevice(&device), "the device in use");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "a device's compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "a device's compute capability");
  return major == 9 && minor == 0;
}

std::optional<size_t> device_of(const void* address) {
  cudaPointerAttributes about{};
  if (cudaPointerGetAttributes(&about, address) != cudaSuccess) {
    cudaGetLastError();  // the next launch must not find this one's error
    return {};
  }
  if (about.type != cudaMemoryTypeDevice && about.type != cudaMemoryTypeManaged) return {};
  return static_cast<size_t>(about.device);
}

void wait_for(uint64_t stream) {
  check(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(stream)), "the stream of an array");
}

size_t free_memory() {
  size_t left = 0, all = 0;
  check(cudaMemGetInfo(&left, &all), "memory of a device");
  return left;
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();  // the next launch must not find this one's error
  fail_for_memory("an array needs", bytes, free_memory());
}

void release(void* memory) noexcept {
  if (memory != nullptr) cudaFree(memory);
}

void upload(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "a copy to the device");
}

void download(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "a copy from the device");
}

void set_bytes(void* at, uint8_t value, size_t bytes) { check(cudaMemset(at, value, bytes), "filling device memory"); }

void wait_for_kernels() { check(cudaStreamSynchronize(nullptr), "kernels"); }

void* allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  if (cudaMallocHost(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();
  fail_for_pinned(bytes);
}

void release_pinned(void* memory) noexcept {
  if (memory != nullptr) cudaFreeHost(memory);
}

void upload_beside(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, copy_stream()), "a copy to the device");
}

void wait_for_copies() { check(cudaStreamSynchronize(copy_stream()), "copies to the device"); }

}  // namespace bebr::cuda
