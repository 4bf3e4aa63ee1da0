#include "index/byte_queries.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/threads.h"
#include "index/rounding.h"

namespace bebr {
namespace {

constexpr size_t kFewestPairs = 8;  // of quads, that are worth a thread
// That the largest entry of a query may be: coarser ones tell rows apart too badly.
constexpr int32_t kLeastEntry8 = 31;

// How often each quad occurs in a row: the free places go, one after the other, to the quad with the largest value
// divided by its copies so far. A quad's value: its largest entry in a query, mean plus two standard deviations.
std::vector<uint32_t> share_places(const float* y, size_t count, uint32_t dims, size_t places,
                                   std::vector<uint32_t>& copied) {
  const uint32_t quads = dims / 4;
  std::vector<float> largest(quads);  // of a query
  std::vector<double> sums(quads), squares(quads);
  // By pairs of quads: dims are a multiple of 8.
  parallel_for(quads / 2, count < kFewestQueries ? quads / 2 : kFewestPairs, [&](size_t first, size_t last) {
    const size_t begin = 2 * first, end = 2 * last;
    for (size_t q = 0; q < count; ++q) {
      for (size_t u = begin; u < end; u += 2) {
        const Floats a = size_of(load_floats(y + q * dims + 4 * u)), b = size_of(load_floats(y + q * dims + 4 * u + 4));
        const Floats even = __builtin_shufflevector(a, b, 0, 2, 4, 6), odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
        const Floats pairs = even > odd ? even : odd;
        largest[u] = std::max(pairs[0], pairs[1]);
        largest[u + 1] = std::max(pairs[2], pairs[3]);
      }
      for (size_t u = begin; u < end; ++u) {
        sums[u] += double{largest[u]};
        squares[u] += double{largest[u]} * double{largest[u]};
      }
    }
  });
  const auto n = static_cast<double>(count);
  std::vector<double> large(quads);
  for (uint32_t u = 0; u < quads; ++u)
    large[u] = sums[u] / n + 2 * std::sqrt(std::max(0.0, squares[u] / n - sums[u] / n * (sums[u] / n)));
  std::vector<uint32_t> times(quads, 1);
  for (size_t place = 0; place < places; ++place) {
    uint32_t most = 0;
    for (uint32_t u = 1; u < quads; ++u)
      if (large[u] * times[most] > large[most] * times[u]) most = u;
    ++times[most];
    copied.push_back(most);
  }
  return times;
}

// Query q of `bytes` from y[dims]. inverse: 1 / the copies of each dim. most: of an entry. whole, seen: room for dims
// and quads.
void make_byte_query(const CodeSpec& spec, const float* y, const std::vector<uint32_t>& times,
                     const std::vector<float>& inverse, float most, size_t q, ByteQueries& bytes,
                     std::vector<int32_t>& whole, std::vector<uint32_t>& seen) {
  const uint32_t dims = spec.dims();
  const float largest = largest_size(y, inverse.data(), dims);  // of a place
  const float step = largest > most * kNothing ? largest / most : 1, per_step = 1 / step;
  int8_t* y8 = bytes.y8.as<int8_t>() + q * bytes.stride();
  for (uint32_t j = 0; j < dims; ++j) whole[j] = nearest(y[j] * per_step);
  for (uint32_t j = 0; j < dims; ++j) y8[j] = static_cast<int8_t>(whole[j]);
  // A value with several copies is divided equally; the first copies take the remainder.
  const auto share = [&](uint32_t quad, uint32_t place, int8_t* to) {
    const auto copies = static_cast<int32_t>(times[quad]), at = static_cast<int32_t>(place);
    for (uint32_t lane = 0; lane < 4; ++lane) {
      const int32_t value = whole[4 * quad + lane], each = value / copies, rest = value - each * copies;
      to[lane] = static_cast<int8_t>(each + (at < std::abs(rest) ? (rest > 0 ? 1 : -1) : 0));
    }
  };
  for (const uint32_t quad : bytes.copied) seen[quad] = 0;
  for (size_t place = 0; place < bytes.copied.size(); ++place) {
    const uint32_t quad = bytes.copied[place];
    if (seen[quad]++ == 0) share(quad, 0, y8 + 4 * quad);
    share(quad, seen[quad], y8 + dims + 4 * place);
  }
  // v_j = 2^(1 - planes) (2 u_j - the value of all bits set), whose sum over j is `ones`. Dims of equal depth
  // together.
  int64_t ones = 0;
  double bound = 0, variance = 0;
  uint32_t j = 0;
  for (uint32_t t = spec.planes; t-- > 0;) {  // dims that planes 0 .. t cover and no more
    const uint32_t from = j;
    int64_t sum = 0;
    Floats lost[2] = {}, squares[2] = {};
    for (; j < spec.widths[t]; j += kLanes) {
      for (uint32_t v = 0; v < 2; ++v) {
        Ints entries;
        std::memcpy(&entries, whole.data() + j + 4 * v, sizeof entries);
        const Floats off = load_floats(y + j + 4 * v) - step * __builtin_convertvector(entries, Floats);
        lost[v] += size_of(off);
        squares[v] += off * off;
      }
    }
    for (uint32_t i = from; i < j; ++i) sum += whole[i];
    if (j == from) continue;
    ones += sum * ((int64_t{1} << spec.planes) - (int64_t{1} << (spec.planes - 1 - t)));
    bound += double{sum_of(lost[0] + lost[1])} * (2 - std::exp2(-static_cast<double>(t)));
    variance += double{sum_of(squares[0] + squares[1])} * (4 - std::exp2(-2 * static_cast<double>(t))) / 3;
  }
  const double unit = double{step} * std::exp2(1 - static_cast<double>(spec.planes));
  bytes.base[q] = static_cast<float>(-unit * static_cast<double>(ones));
  bytes.scale[q] = static_cast<float>(2 * unit);
  bytes.bound[q] = static_cast<float>(bound);
  bytes.deviation[q] = static_cast<float>(std::sqrt(variance));
}

// What a dim adds to the base for each unit of its entry, and the variance of its value: of dims of depth t + 1.
struct DimWeights {
  std::vector<int32_t> ones;
  std::vector<float> variance;
};
DimWeights dim_weights(const CodeSpec& spec) {
  DimWeights found{std::vector<int32_t>(spec.dims()), std::vector<float>(spec.dims())};
  uint32_t j = 0;
  for (uint32_t t = spec.planes; t-- > 0;) {
    for (; j < spec.widths[t]; ++j) {
      found.ones[j] = (1 << spec.planes) - (1 << (spec.planes - 1 - t));
      found.variance[j] = static_cast<float>((4 - std::exp2(-2 * static_cast<double>(t))) / 3);
    }
  }
  return found;
}

// The leads of query q: y[dims] and its entries.
void make_leads(const CodeSpec& spec, const DimWeights& weights, const float* y, const std::vector<int32_t>& whole,
                size_t q, ByteQueries& bytes) {
  const size_t count = bytes.base.size();
  const double unit = double{bytes.scale[q]} / 2;
  float rest = 0;
  for (uint32_t tiles = bytes.tiles(), end = spec.dims(); tiles >= bytes.least_tiles; --tiles) {
    const uint32_t dims = bytes.dims_in(tiles);
    float sums[16] = {};  // side by side: one after the other they would wait for each other
    for (uint32_t j = dims; j < end; ++j) sums[j % 16] += y[j] * y[j] * weights.variance[j];
    for (const float sum : sums) rest += sum;
    end = dims;
    int64_t ones = 0;
    for (uint32_t j = 0; j < dims; ++j) ones += int64_t{whole[j]} * weights.ones[j];
    bytes.leads[tiles * count + q] = {static_cast<float>(-unit * static_cast<double>(ones)), std::sqrt(rest)};
  }
}

}  // namespace

int32_t most_entry(const CodeSpec& spec, const Kernels& kernels, bool exact) {
  if (exact || kernels.small_product == 0) return kMostEntry8;
  return std::clamp(kernels.small_product / ((1 << spec.planes) - 1), kLeastEntry8, kMostEntry8);
}

ByteQueries make_byte_queries(const CodeSpec& spec, const float* y, size_t count, bool leads, int32_t most,
                              uint32_t more) {
  const uint32_t dims = spec.dims();
  ByteQueries bytes;
  bytes.groups = spec.groups();
  for (std::vector<float>* values : {&bytes.base, &bytes.scale, &bytes.bound, &bytes.deviation}) values->resize(count);
  const size_t places = (y8_stride(bytes.groups) + 64 * size_t{more} - dims) / 4;
  const std::vector<uint32_t> times = share_places(y, count, dims, places, bytes.copied);
  bytes.y8.resize(count * bytes.stride());
  std::vector<float> inverse(dims);
  for (uint32_t j = 0; j < dims; ++j) inverse[j] = 1 / static_cast<float>(times[j / 4]);
  // All that is repeated has to be read.
  const uint32_t repeated = bytes.copied.empty() ? 0 : *std::ranges::max_element(bytes.copied) + 1;
  bytes.least_tiles =
      leads ? std::min(bytes.tiles(), static_cast<uint32_t>(repeated + bytes.copied.size()) / 16 + 1) : bytes.tiles();
  DimWeights weights;
  if (bytes.least_tiles < bytes.tiles()) {
    bytes.leads.resize((bytes.tiles() + 1) * count);
    weights = dim_weights(spec);
  }
  parallel_for(count, kFewestQueries, [&](size_t first, size_t last) {
    std::vector<int32_t> whole(dims);
    std::vector<uint32_t> seen(dims / 4);
    for (size_t q = first; q < last; ++q) {
      make_byte_query(spec, y + q * dims, times, inverse, static_cast<float>(most), q, bytes, whole, seen);
      if (!bytes.leads.empty()) make_leads(spec, weights, y + q * dims, whole, q, bytes);
    }
  });
  return bytes;
}

void ByteQueries::copy_query(size_t q, uint32_t tiles, int8_t* to) const {
  const int8_t* from = y8.as<int8_t>() + q * stride();
  const size_t repeated = 4 * copied.size(), leading = 64 * size_t{tiles} - repeated;
  std::copy_n(from, leading, to);
  std::copy_n(from + stride() - repeated, repeated, to + leading);
}

void ByteQueries::copy_tail(size_t q, uint32_t tiles, int8_t* to) const {
  const int8_t* from = y8.as<int8_t>() + q * stride();
  const uint32_t first = 64 * tail_tile(tiles), dims = dims_in(tiles), all = 8 * groups;
  std::fill_n(to, tail_bytes(tiles), int8_t{0});
  std::copy(from + dims, from + all, to + (dims - first));
}

void ByteQueries::copy_quads(size_t blocks, uint32_t tiles, uint8_t* expanded) const {
  for (size_t block = 0; block < blocks; ++block, expanded += size_t{tiles} * 64 * kBlockRows) {
    uint8_t* to = expanded + (16 * size_t{tiles} - copied.size()) * kQuadBytes;
    for (const uint32_t quad : copied) {
      std::memcpy(to, expanded + size_t{quad} * kQuadBytes, kQuadBytes);
      to += kQuadBytes;
    }
  }
}

}  // namespace bebr
