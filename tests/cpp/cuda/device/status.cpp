// Where bebr_device_tests begins: without a GPU it says why, and ends with status 3 as `pytest -m cuda` does.
#include <cstdio>
#include <cstdlib>

#include "cuda/memory.h"

namespace bebr::test {
namespace {

[[maybe_unused]] const bool kThere = [] {
  const cuda::Status found = cuda::status();
  if (!found.devices.empty()) return true;
  std::fprintf(stderr, "no CUDA device: %s\n", found.why.c_str());
  std::exit(3);
}();

}  // namespace
}  // namespace bebr::test
