// bebr_bench ISA KERNEL DIMS PLANES ROWS QUERIES REPEATS: prints the seconds of each pass (bench/time_kernel.h), for
// benchmarks/kernels.py.
#include <cstdio>
#include <exception>
#include <string>

#include "base/error.h"
#include "bench/time_kernel.h"

namespace {

bebr::Isa isa_of(const std::string& name) {
  for (const bebr::Isa isa : bebr::runnable_isas())
    if (name == bebr::isa_name(isa)) return isa;
  bebr::fail(bebr::ErrorCode::InvalidArgument, "instruction set '" + name + "' cannot run here");
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 8) bebr::fail(bebr::ErrorCode::InvalidArgument, "want ISA KERNEL DIMS PLANES ROWS QUERIES REPEATS");
    const auto number = [arguments](int at) { return std::stoul(arguments[at]); };
    for (const double seconds :
         bebr::time_kernel(isa_of(arguments[1]), arguments[2], static_cast<uint32_t>(number(3)),
                           static_cast<uint32_t>(number(4)), number(5), static_cast<uint32_t>(number(6)), number(7)))
      std::printf("%.9g\n", seconds);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bebr_bench: %s\n", error.what());
    return 1;
  }
}
