#include "emulate/products.h"

#include <algorithm>
#include <cstring>

#include "emulate/block.h"

namespace emulate {
namespace {

constexpr int32_t kUnderWay = 0x2bad2bad;  // in place of sums
constexpr uint32_t kFence = 5, kProduct = 6, kCommit = 7, kWait = 8, kExchange = 9;

void step(uint32_t operation, uint64_t value) {
  Block& block = *Block::current();
  if (block.threads() % 128 != 0) misuse("a product by warpgroups in a block without whole ones");
  block.meet(~0u, operation, nullptr, 0);
  uint64_t& way = block.thread().products.way;
  way = (way ^ (value << 4 | operation)) * 0x9e3779b97f4a7c15u + (way >> 29);
}

BEBR_UNSEEN void count_product() { ++products_begun; }

// Arithmetic on memory that is checked elsewhere, most of an emulated product's time.
#define BEBR_QUICK __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

// 128 columns as a warp reads them, of two products in turns: as Block::meet's slots.
int16_t columns[32][2][128][32];

// Bytes of a column, whose two halves lie apart.
struct Column {
  int8_t bytes[32];
};
Column read_column(uint64_t matrix, uint32_t column) {
  constexpr uint64_t kKnown = 0x3fff3fff3fffu;
  if ((matrix & ~kKnown) != 0) misuse("a matrix descriptor that is not emulated: a swizzle, or an address too large");
  const auto field = [&](uint32_t bit) { return static_cast<uint32_t>(matrix >> bit & 0x3fff) << 4; };
  Column read;
  for (uint32_t half = 0; half < 2; ++half)
    std::memcpy(read.bytes + 16 * half,
                Block::current()->operand(field(0) + half * field(16) + column / 8 * field(32) + column % 8 * 16), 16);
  return read;
}

BEBR_QUICK void put_column(const Column& column, int16_t* to) {
  for (uint32_t k = 0; k < 32; ++k) to[k] = column.bytes[k];
}

// The warp's left operand and columns, of which each lane has read 4, to this lane's sums.
BEBR_QUICK void multiply_here(const uint32_t* a, const int16_t (*right)[32], bool add, int32_t (*c)[4]) {
  const uint64_t bring[4] = {a[0], a[1], a[2], a[3]};
  auto* lanes = Block::current()->meet(~0u, kExchange, bring, 4);
  const uint32_t g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (uint32_t h = 0; h < 2; ++h) {
    int16_t row[32];
    for (uint32_t k = 0; k < 32; ++k)
      row[k] = static_cast<uint8_t>(lanes[4 * g + k % 16 / 4][k / 16 * 2 + h] >> k % 4 * 8);
    for (uint32_t n = 0; n < 16; ++n)
      for (uint32_t i = 0; i < 2; ++i) {
        const int16_t* column = right[n * 8 + 2 * t + i];
        int32_t sum = 0;
        for (uint32_t k = 0; k < 32; ++k) sum += row[k] * column[k];
        c[n][2 * h + i] = (add ? c[n][2 * h + i] : 0) + sum;
      }
  }
}

void multiply(Products& mine, const Product& product, int32_t (*c)[4]) {
  auto* right = columns[threadIdx.x / 32][mine.turn++ & 1];
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t column = i * 32 + threadIdx.x % 32;
    put_column(read_column(product.b, column), right[column]);
  }
  multiply_here(product.a, right, product.add, c);
}

std::vector<HeldSums>::iterator held_at(Products& mine, int32_t (*c)[4]) {
  return std::find_if(mine.held.begin(), mine.held.end(), [&](const HeldSums& held) { return held.at == c; });
}

void finish(Products& mine, const Product& product) {
  if (std::memcmp(product.a, product.a_then, sizeof product.a_then) != 0)
    misuse("a left operand is overwritten before its product is waited for");
  const auto held = held_at(mine, product.c);
  multiply(mine, product, held->values);
  if (--held->products > 0) return;
  for (uint32_t i = 0; i < 64; ++i)
    if (held->at[i / 4][i % 4] != kUnderWay) misuse("sums are written before their product is waited for");
  std::memcpy(held->at, held->values, sizeof held->values);
  mine.held.erase(held);
}

}  // namespace

void fence_registers() {
  step(kFence, 0);
  Block::current()->thread().products.fenced = true;
}

void begin_product_u8s8(int32_t (*c)[4], const uint32_t (&a)[4], uint64_t b, bool add) {
  step(kProduct, b << 1 | static_cast<uint64_t>(add));
  if (threadIdx.x % 128 == 0) count_product();
  Products& mine = Block::current()->thread().products;
  if (!mine.fenced) misuse("a product without a fence of registers before it");
  Product product{c, a, {}, b, add};
  std::memcpy(product.a_then, a, sizeof product.a_then);
  mine.begun.push_back(product);
  if (eager_products) return multiply(mine, product, c);
  auto held = held_at(mine, c);
  if (held == mine.held.end()) {
    held = mine.held.insert(held, {c, {}, 0});
    std::memcpy(held->values, c, sizeof held->values);
    std::fill_n(c[0], 64, kUnderWay);
  }
  ++held->products;
}

void commit_products() {
  step(kCommit, 0);
  Products& mine = Block::current()->thread().products;
  mine.groups.push_back(std::move(mine.begun));
  mine.begun.clear();
  mine.fenced = false;
}

void wait_products(size_t behind) {
  step(kWait, behind);
  Products& mine = Block::current()->thread().products;
  for (; mine.groups.size() > behind; mine.groups.pop_front())
    for (const Product& product : mine.groups.front())
      if (!eager_products) finish(mine, product);
}

}  // namespace emulate
