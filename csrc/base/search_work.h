// What searches did, added up by all of their threads.
#pragma once

#include <atomic>
#include <cstdint>

namespace bebr {

// A row counts once for each query that looks at it.
struct SearchWork {
  std::atomic<uint64_t> scanned{0};    // rows whose codes were looked at, or their kept vectors alone
  std::atomic<uint64_t> survivors{0};  // of these, the rows that a part of their code did not rule out: scored in full

  void add(uint64_t rows, uint64_t left) noexcept {
    scanned.fetch_add(rows, std::memory_order_relaxed);
    survivors.fetch_add(left, std::memory_order_relaxed);
  }
};

}  // namespace bebr
