#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// Starts from scalar; each bundle the machine has overwrites what it improves.
Kernels bind(Isa isa) {
  Kernels table{};  // null where no bundle has a kernel
  table.isa = isa;
  bind_scalar(table);
  bind_scalar_gemm(table);
  bind_scalar_project(table);
  bind_scalar_descend(table);
  bind_scalar_raw(table);
  bind_scalar_expand(table);
  bind_query(table);
#if defined(__x86_64__)
  if (isa >= Isa::Avx2) {
    bind_avx2(table);
    bind_avx2_select(table);
    bind_avx2_gemm(table);
    bind_avx2_project(table);
    bind_avx2_descend(table);
    bind_avx2_graph(table);
    bind_avx2_raw(table);
    bind_avx2_expand(table);
  }
  if (isa == Isa::AvxVnni) {  // not below avx512, which many machines have without it
    bind_avxvnni_graph(table);
    bind_avxvnni_expand(table);
  }
  if (isa >= Isa::Avx512) {
    bind_avx512(table);
    bind_avx512_score(table);
    bind_avx512_gemm(table);
    bind_avx512_project(table);
    bind_avx512_descend(table);
    bind_avx512_graph(table);
    bind_avx512_query(table);
    bind_avx512_candidates(table);
    if (has_gfni()) bind_avx512_digits(table);
    bind_avx512_raw(table);
    bind_avx512_expand(table);
  }
  if (isa >= Isa::Amx) {
    bind_amx(table);
    bind_amx_gemm(table);
  }
#elif defined(__aarch64__)
  if (isa >= Isa::Neon) {
    bind_neon(table);
    bind_neon_select(table);
    bind_neon_complete(table);
    bind_neon_gemm(table);
    bind_neon_project(table);
    bind_neon_descend(table);
    bind_neon_graph(table);
    bind_neon_digits(table);
    bind_neon_expand(table);
    bind_neon_raw(table);
  }
  if (isa >= Isa::NeonDot) {
    bind_neon_dot(table);
    bind_neon_dot_complete(table);
    bind_neon_dot_digits(table);
    bind_neon_dot_expand(table);
    bind_neon_dot_tail(table);
  }
  if (isa >= Isa::NeonI8mm) bind_neon_i8mm(table);
#endif
  return table;
}

std::vector<Kernels> bind_all() {
  std::vector<Kernels> tables;
  for (const Isa isa : built_isas()) tables.push_back(bind(isa));
  return tables;
}

}  // namespace

const Kernels& kernels(Isa isa) {
  static const std::vector<Kernels> tables = bind_all();
  for (const Kernels& table : tables)
    if (table.isa == isa && runs(isa)) return table;
  fail(ErrorCode::InvalidArgument, std::string("instruction set ") + isa_name(isa) +
                                       " cannot run here: this machine has " + isa_name(detected_isa()));
}

const Kernels& kernels() {
  static const Kernels& chosen = kernels(chosen_isa());
  return chosen;
}

}  // namespace bebr
