// Which instruction bundle this process uses. Detected once; capped by BEBR_ISA. On x86-64: CPUID, the operating
// system's state (XGETBV) and, for AMX, the kernel's permission. On ARM: the auxiliary vector of Linux, sysctl of
// macOS.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace bebr {

enum class Isa { Scalar, Avx2, AvxVnni, Avx512, Amx, Neon, NeonDot, NeonI8mm };

const char* isa_name(Isa isa);

// The bundles of this build's architecture, scalar first; each contains those before it, but for avxvnni: its shorter
// form of instructions that avx512 has, too, is missing on many processors with avx512.
std::span<const Isa> built_isas();
std::string built_isa_names();  // "scalar, avx2, avxvnni, avx512 or amx"

// The best bundle this machine can run, whatever BEBR_ISA says.
Isa detected_isa();

// The bundle in force: the best of runnable_isas() that BEBR_ISA allows. Throws Error(InvalidArgument) when BEBR_ISA
// names no bundle.
Isa chosen_isa();

// Those of built_isas() that this machine can run.
std::vector<Isa> runnable_isas();
bool runs(Isa isa);

// Beside avx512: nearly every such processor has it, but a hypervisor may hide it.
bool has_gfni();

}  // namespace bebr
