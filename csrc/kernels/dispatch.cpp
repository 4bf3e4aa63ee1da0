#include <array>
#include <string>

#include "base/error.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// Starts from scalar; each bundle the machine has overwrites what it improves.
Kernels bind(Isa isa) {
  Kernels table;
  table.isa = isa;
  bind_scalar(table);
  bind_scalar_gemm(table);
  bind_scalar_descend(table);
  bind_scalar_raw(table);
  bind_scalar_expand(table);
#if defined(__x86_64__)
  if (isa >= Isa::Avx2) {
    bind_avx2(table);
    bind_avx2_gemm(table);
    bind_avx2_descend(table);
    bind_avx2_graph(table);
    bind_avx2_raw(table);
  }
  if (isa >= Isa::Avx512) {
    bind_avx512(table);
    bind_avx512_score(table);
    bind_avx512_gemm(table);
    bind_avx512_descend(table);
    bind_avx512_graph(table);
    bind_avx512_raw(table);
    bind_avx512_expand(table);
  }
  if (isa >= Isa::Amx) {
    bind_amx(table);
    bind_amx_gemm(table);
  }
#endif
  return table;
}

}  // namespace

const Kernels& kernels(Isa isa) {
  static const std::array<Kernels, 4> tables = {bind(Isa::Scalar), bind(Isa::Avx2), bind(Isa::Avx512), bind(Isa::Amx)};
  if (isa > detected_isa())
    fail(ErrorCode::InvalidArgument, std::string("instruction set ") + isa_name(isa) +
                                         " cannot run here: this machine has " + isa_name(detected_isa()));
  return tables[static_cast<size_t>(isa)];
}

const Kernels& kernels() {
  static const Kernels& chosen = kernels(chosen_isa());
  return chosen;
}

}  // namespace bebr
