// bebr_front_tests [--fuzz CONNECTIONS SEED]: the tests of the front, or as many mutated connections, and
// a tenth as many of the client of searches, and answers of leaves.
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "../check.h"

namespace bebr::test {

void fuzz(size_t connections, uint32_t seed);
void fuzz_caller(size_t calls, uint32_t seed);
void fuzz_scatter(size_t calls, uint32_t seed);

namespace {

struct Test {
  const char* name;
  void (*run)();
};
std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

}  // namespace

bool add(const char* name, void (*run)()) {
  tests().push_back({name, run});
  return true;
}

}  // namespace bebr::test

#ifdef __SANITIZE_THREAD__
// OpenSSL is not instrumented: what it hands from thread to thread by atomics of its own looks like a race.
extern "C" const char* __tsan_default_suppressions() { return "race:libcrypto.so"; }
#endif

int main(int count, char** arguments) {
  using namespace bebr::test;
  std::signal(SIGPIPE, SIG_IGN);  // as Python does
  int failed = 0;
  if (count == 4 && std::strcmp(arguments[1], "--fuzz") == 0) tests() = {};
  for (const Test& test : tests()) {
    try {
      test.run();
    } catch (const std::exception& error) {
      std::cerr << test.name << ": " << error.what() << '\n';
      ++failed;
    }
  }
  if (tests().empty()) {
    const size_t connections = std::strtoul(arguments[2], nullptr, 10);
    const auto seed = static_cast<uint32_t>(std::atoi(arguments[3]));
    fuzz(connections, seed);
    fuzz_caller(connections / 10, seed);
    fuzz_scatter(connections / 10, seed);
  }
  std::cout << tests().size() - static_cast<size_t>(failed) << " tests of the front passed, " << failed << " failed\n";
  return failed == 0 ? 0 : 1;
}
