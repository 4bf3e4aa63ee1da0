// bebr_tests [PART OF A NAME]: runs every test, or those with such a name, and closes with "N passed, N failed".
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "base/cpu.h"
#include "check.h"

namespace bebr::test {
namespace {

struct Test {
  const char* name;
  void (*run)();
  void (*run_kernels)(const Kernels&);
};

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

struct Count {
  int passed = 0, failed = 0;
};

template <typename Run>
void attempt(const std::string& name, Count& count, Run run) {
  try {
    run();
    ++count.passed;
  } catch (const std::exception& error) {
    ++count.failed;
    std::printf("failed: %s: %s\n", name.c_str(), error.what());
  }
}

// The best bundle that BEBR_REQUIRE_ISA demands; scalar, which is always there, if it is unset.
Isa required_isa() {
  const char* required = std::getenv("BEBR_REQUIRE_ISA");
  if (required == nullptr || *required == '\0') return Isa::Scalar;
  for (const Isa isa : built_isas())
    if (std::string(required) == isa_name(isa)) return isa;
  throw Failure(std::string("BEBR_REQUIRE_ISA is '") + required + "': want " + built_isa_names());
}

// The bundles to test. A skip that BEBR_REQUIRE_ISA forbids is a failure.
std::vector<Isa> tested_isas(Count& count) {
  std::vector<Isa> isas;
  for (const Isa isa : built_isas()) {
    if (runs(isa)) {
      isas.push_back(isa);
      continue;
    }
    std::printf("skipped: %s\n", isa_name(isa));
    if (isa > required_isa() || (isa == Isa::AvxVnni && isa != required_isa())) continue;  // avx512 goes without it
    std::printf("failed: BEBR_REQUIRE_ISA demands %s\n", isa_name(isa));
    ++count.failed;
  }
  return isas;
}

}  // namespace

bool add(const char* name, void (*run)()) {
  tests().push_back({name, run, nullptr});
  return true;
}

bool add(const char* name, void (*run)(const Kernels&)) {
  tests().push_back({name, nullptr, run});
  return true;
}

// filter: part of the names of the tests to run.
int run_all(const std::string& filter) {
  Count count;
  const std::vector<Isa> isas = tested_isas(count);
  for (const Test& test : tests()) {
    if (std::string(test.name).find(filter) == std::string::npos) continue;
    if (test.run != nullptr) {
      attempt(test.name, count, test.run);
      continue;
    }
    for (const Isa isa : isas)
      attempt(std::string(test.name) + " [" + isa_name(isa) + "]", count, [&] { test.run_kernels(kernels(isa)); });
  }
  std::printf("%d passed, %d failed\n", count.passed, count.failed);
  return count.failed == 0 ? 0 : 1;
}

}  // namespace bebr::test

int main(int count, char** arguments) {
  try {
    return bebr::test::run_all(count > 1 ? arguments[1] : "");
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return 1;
  }
}
