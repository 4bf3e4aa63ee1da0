// Which instruction bundle this process uses. Detected once: CPUID, the operating system's state (XGETBV) and, for AMX,
// the kernel's permission; capped by BEBR_ISA.
#pragma once

#include <string>
#include <vector>

namespace bebr {

enum class Isa { Scalar = 0, Avx2 = 1, Avx512 = 2, Amx = 3 };

const char* isa_name(Isa isa);

// The best bundle this machine can run, whatever BEBR_ISA says.
Isa detected_isa();

// The bundle in force: detected_isa() capped by BEBR_ISA. Throws Error(InvalidArgument) when BEBR_ISA names no bundle.
Isa chosen_isa();

// Every bundle that this build contains and this machine can run, scalar first.
std::vector<Isa> runnable_isas();

}  // namespace bebr
