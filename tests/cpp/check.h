// The test runner: a test is a function that throws at its first failed check. A kernel test runs once for each
// instruction bundle; one this machine lacks is reported as skipped, or as failed where BEBR_REQUIRE_ISA names it or a
// later bundle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace bebr::test {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool add(const char* name, void (*run)());
bool add(const char* name, void (*run)(const Kernels& tested));

#define BEBR_TEST(name)                                                           \
  static void name();                                                             \
  [[maybe_unused]] static const bool name##_added = bebr::test::add(#name, name); \
  static void name()

#define BEBR_KERNEL_TEST(name)                                                    \
  static void name(const bebr::Kernels& tested);                                  \
  [[maybe_unused]] static const bool name##_added = bebr::test::add(#name, name); \
  static void name(const bebr::Kernels& tested)

// `where` is anything that streams and says which case this is.
#define CHECK(condition, where)                                                                              \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      std::ostringstream failure_;                                                                           \
      failure_ << __FILE__ << ':' << __LINE__ << ": " << #condition << "; " << where; /* NOLINT: a stream */ \
      throw bebr::test::Failure(failure_.str());                                                             \
    }                                                                                                        \
  } while (false)

// An array that ends exactly where its memory ends, so that AddressSanitizer sees a read past it, and starts one
// element off the allocator's alignment.
template <typename T>
class Exact {
 public:
  explicit Exact(size_t count) : bytes_(new uint8_t[(count + 1) * sizeof(T)]), count_(count) {
    std::memset(data(), 0, count * sizeof(T));
  }
  T* data() { return reinterpret_cast<T*>(bytes_.get() + sizeof(T)); }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.get() + sizeof(T)); }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t count_;
};

// The first index at which the two differ, or `count`.
template <typename T>
size_t first_difference(const T* a, const T* b, size_t count) {
  size_t i = 0;
  while (i < count && std::memcmp(a + i, b + i, sizeof(T)) == 0) ++i;
  return i;
}

#define CHECK_SAME(got, want, count, where)                                                 \
  do {                                                                                      \
    const size_t at = bebr::test::first_difference(got, want, count);                       \
    CHECK(at == static_cast<size_t>(count),                                                 \
          "at " << at << " got " << (got)[at] << ", want " << (want)[at] << "; " << where); \
  } while (false)

using Random = std::mt19937;

inline uint32_t below(Random& random, uint32_t n) { return random() % n; }

// Codes: 0 random, 1 all bits clear, 2 all set, 3 alternating.
inline Exact<uint8_t> make_bytes(Random& random, size_t count, int kind) {
  Exact<uint8_t> bytes(count);
  constexpr uint8_t kFixed[] = {0, 0x00, 0xff, 0x55};
  for (size_t i = 0; i < count; ++i) bytes[i] = kind == 0 ? static_cast<uint8_t>(random()) : kFixed[kind];
  return bytes;
}

}  // namespace bebr::test
