// bebr_tests [--kernels | --kernels=BUNDLE | --others] [PART OF A NAME]: runs every test, or those of kernels alone, or
// of one bundle's, or the others, with such a name, and closes with "N passed, N failed".
#include <algorithm>
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

// Which tests run: of kernels, of one bundle if it is named, others, and those with this part in their names.
struct Wanted {
  bool kernels = true, others = true;
  std::string bundle, part;

  bool has(const Test& test) const {
    return (test.run == nullptr ? kernels : others) && std::string(test.name).find(part) != std::string::npos;
  }
};

Wanted wanted_of(int count, char** arguments) {
  Wanted wanted;
  for (int i = 1; i < count; ++i) {
    const std::string said = arguments[i];
    const std::string of = "--kernels=";
    if (said == "--others")
      wanted.kernels = false;
    else if (said == "--kernels" || said.starts_with(of)) {
      wanted.others = false;
      wanted.bundle = said.substr(std::min(said.size(), of.size()));
    } else if (said.starts_with("--"))
      throw Failure(said + ": want --kernels, --kernels=BUNDLE, --others or a part of a name");
    else
      wanted.part = said;
  }
  return wanted;
}

int run_all(const Wanted& wanted) {
  Count count;
  std::vector<Isa> isas = tested_isas(count);
  if (!wanted.bundle.empty()) {
    std::erase_if(isas, [&](Isa isa) { return wanted.bundle != isa_name(isa); });
    if (isas.empty()) throw Failure(wanted.bundle + ": no such bundle, or not on this machine");
  }
  for (const Test& test : tests()) {
    if (!wanted.has(test)) continue;
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
    return bebr::test::run_all(bebr::test::wanted_of(count, arguments));
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return 1;
  }
}
