// Products by warpgroups (cuda/device.h). They are done when they begin, or not before they are waited for: until then
// their sums hold rubbish, and their operands are read as they are at that time. It is stricter than a device:
//   * each group of products wants a fence of registers before it, even where none was written;
//   * warps of a warpgroup are not held together, which a device may do, but each must do the same as the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace emulate {

inline bool eager_products = false;  // done when they begin
inline size_t products_begun = 0;    // of all warpgroups

struct Product {
  int32_t (*c)[4];
  const uint32_t* a;
  uint32_t a_then[4];
  uint64_t b;
  bool add;
};

// What sums that hold rubbish will be.
struct HeldSums {
  int32_t (*at)[4];
  int32_t values[16][4];
  size_t products;  // that have not been done
};

// Of a thread.
struct Products {
  std::vector<Product> begun;
  std::deque<std::vector<Product>> groups;
  std::vector<HeldSums> held;
  bool fenced = false;
  uint64_t way = 0;   // of all that it did, a number
  uint32_t turn = 0;  // of its products
};

void fence_registers();
void begin_product_u8s8(int32_t (*c)[4], const uint32_t (&a)[4], uint64_t b, bool add);
void commit_products();
void wait_products(size_t behind);

}  // namespace emulate
