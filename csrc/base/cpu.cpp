#include "base/cpu.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace bebr {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avxvnni", "avx512", "amx", "neon", "neon_dot", "neon_i8mm"};

#if defined(__x86_64__)

constexpr Isa kBuilt[] = {Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512, Isa::Amx};

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

unsigned long long enabled_state() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

bool has(unsigned word, int bit) { return ((word >> bit) & 1u) != 0; }

// Every processor with the first has the second; a hypervisor may hide one.
bool has_avxvnni() { return has(cpuid(7, 1).a, 4) /*AVX-VNNI*/ && has_gfni(); }

// Linux hands out the 8 KB of tile state only on request (arch_prctl ARCH_REQ_XCOMP_PERM, XFEATURE 18).
bool request_amx() {
#if defined(__linux__)
  constexpr long kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

Isa detect() {
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0);
  const bool osxsave = has(one.c, 27);
  if (!osxsave) return Isa::Scalar;
  const unsigned long long state = enabled_state();
  const bool avx_state = (state & 0x6) == 0x6, avx512_state = (state & 0xe6) == 0xe6,
             tile_state = (state >> 17 & 3) == 3;

  const bool avx2 = avx_state && has(one.c, 12) /*FMA*/ && has(one.c, 29) /*F16C*/ && has(one.c, 23) /*POPCNT*/ &&
                    has(seven.b, 5) /*AVX2*/ && has(seven.b, 8) /*BMI2*/;
  if (!avx2) return Isa::Scalar;
  const bool avx512 = avx512_state && has(seven.b, 16) /*F*/ && has(seven.b, 17) /*DQ*/ && has(seven.b, 30) /*BW*/ &&
                      has(seven.b, 31) /*VL*/ && has(seven.c, 1) /*VBMI*/ && has(seven.c, 11) /*VNNI*/ &&
                      has(seven.c, 12) /*BITALG*/ && has(seven.c, 14) /*VPOPCNTDQ*/;
  if (!avx512) return has_avxvnni() ? Isa::AvxVnni : Isa::Avx2;
  const bool amx = tile_state && has(seven.d, 22) /*BF16*/ && has(seven.d, 24) /*TILE*/ && has(seven.d, 25) /*INT8*/;
  return amx && request_amx() ? Isa::Amx : Isa::Avx512;
}

#elif defined(__aarch64__)

constexpr Isa kBuilt[] = {Isa::Scalar, Isa::Neon, Isa::NeonDot, Isa::NeonI8mm};

#if defined(__linux__)

// asm/hwcap.h of Linux; the names are missing from older headers.
bool has_dot() { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }    // ASIMDDP
bool has_i8mm() { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }  // I8MM

#elif defined(__APPLE__)

bool has(const char* feature) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dot() { return has("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has("hw.optional.arm.FEAT_I8MM"); }

#else

bool has_dot() { return false; }
bool has_i8mm() { return false; }

#endif

// NEON itself is part of the architecture.
Isa detect() {
  if (!has_dot()) return Isa::Neon;
  return has_i8mm() ? Isa::NeonI8mm : Isa::NeonDot;
}

#else

constexpr Isa kBuilt[] = {Isa::Scalar};

Isa detect() { return Isa::Scalar; }

#endif

// Whether a machine that has detected_isa() has this one as well.
bool contains(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::AvxVnni && !has_avxvnni()) return false;
#endif
  return isa <= detected_isa();
}

Isa best_up_to(Isa cap) {
  Isa best = Isa::Scalar;
  for (const Isa isa : kBuilt)
    if (isa <= cap && contains(isa)) best = isa;
  return best;
}

Isa choose() {
  const char* cap = std::getenv("BEBR_ISA");
  if (cap == nullptr || *cap == '\0') return detected_isa();
  for (const Isa isa : kBuilt)
    if (std::string(cap) == isa_name(isa)) return best_up_to(isa);
  fail(ErrorCode::InvalidArgument, std::string("BEBR_ISA is '") + cap + "': want " + built_isa_names());
}

}  // namespace

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

std::span<const Isa> built_isas() { return kBuilt; }

std::string built_isa_names() {
  std::string names = isa_name(kBuilt[0]);
  for (size_t i = 1; i < std::size(kBuilt); ++i)
    names += (i + 1 == std::size(kBuilt) ? " or " : ", ") + std::string(isa_name(kBuilt[i]));
  return names;
}

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa chosen_isa() {
  static const Isa isa = choose();
  return isa;
}

std::vector<Isa> runnable_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kBuilt)
    if (contains(isa)) isas.push_back(isa);
  return isas;
}

bool has_gfni() {
#if defined(__x86_64__)
  return has(cpuid(7, 0).c, 8);
#else
  return false;
#endif
}

bool runs(Isa isa) {
  const std::vector<Isa> isas = runnable_isas();
  return std::find(isas.begin(), isas.end(), isa) != isas.end();
}

}  // namespace bebr
