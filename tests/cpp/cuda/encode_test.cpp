// Encoding by cuda/encoder.h against the CPU's Encoder and Decoder, and its kernels against the scalar specification.
#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "binarizer/decoder.h"
#include "binarizer/descent_grid.h"
#include "binarizer/encoder.h"
#include "binarizer/queries.h"
#include "check.h"
#include "code/planes.h"
#include "cuda/centroids.h"
#include "cuda/descend.h"
#include "cuda/encoder.h"
#include "cuda/float_rows.h"
#include "index/ivf/centroids.h"
#include "index/ivf/half_norm.h"
#include "rows.h"

namespace bebr::test {
namespace {

std::vector<float> normals(Random& random, size_t count, float scale) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = scale * normal(random);
  return values;
}

// Symmetric, of a diagonal that outweighs most of the rest: enough coordinates move.
std::vector<float> gram_of(Random& random, uint32_t dims) {
  std::vector<float> gram(size_t{dims} * dims);
  const float scale = 0.7f / std::sqrt(static_cast<float>(dims));
  for (float& value : gram) value = scale * (static_cast<float>(below(random, 2001)) / 1000 - 1);
  for (uint32_t i = 0; i < dims; ++i) {
    for (uint32_t j = 0; j < i; ++j) gram[j * dims + i] = gram[i * dims + j];
    gram[i * dims + i] = 1 + std::abs(gram[i * dims + i]);
  }
  return gram;
}

// Squares as numpy sums them, of up to 128.
float numpys_sum(const float* x, uint32_t n) {
  float lanes[8] = {}, sum = 0;
  for (uint32_t i = 0; i < n / 8 * 8; ++i) lanes[i % 8] += x[i] * x[i];
  if (n >= 8) sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
  for (uint32_t i = n / 8 * 8; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

struct EncodeCase {
  std::vector<uint32_t> widths;
  uint32_t dim, rows;
  bool normalize, descends, decoded;
  uint32_t sweeps = 6, tries = 0;
};

std::ostream& operator<<(std::ostream& out, const EncodeCase& c) {
  out << "dim " << c.dim << ", rows " << c.rows << ", normalize " << c.normalize << ", descends " << c.descends
      << ", decoded " << c.decoded << ", sweeps " << c.sweeps << ", tries " << c.tries << ", " << how() << ", widths";
  for (const uint32_t w : c.widths) out << ' ' << w;
  return out;
}

// Of every five rows one whose squares are too small for a float, and one whose are too large.
void far_lengths(std::vector<float>& x, uint32_t dim) {
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / dim;
    if (row % 5 == 1) x[i] *= 1e-30f;
    if (row % 5 == 2) x[i] *= 1e30f;
  }
}

void compare(Random& random, const EncodeCase& c) {
  const CodeSpec spec = CodeSpec::make(c.widths);
  const uint32_t dims = spec.dims();
  const std::vector<float> weight = normals(random, size_t{dims} * c.dim, 0.9f / std::sqrt(static_cast<float>(c.dim)));
  std::vector<float> bias = normals(random, dims, 0.1f);
  for (uint32_t j = 0; j < dims; j += 3) bias[j] = 0;  // so that sgn(0) is asked for
  const std::vector<float> gram = c.descends ? gram_of(random, dims) : std::vector<float>();
  std::vector<float> x = normals(random, size_t{c.rows} * c.dim, 1);
  for (uint32_t i = 0; i < c.rows; i += 5)  // zeros have no direction, and a bias of their own
    std::fill_n(x.begin() + i * c.dim, c.dim, 0.0f);
  if (c.normalize) far_lengths(x, c.dim);
  const Layer layer{weight.data(), bias.data(), c.dim, dims};
  cuda::DescentModel descent;
  if (c.descends) descent = {gram.data(), c.sweeps, c.tries};
  std::vector<Decoder> decoders;
  std::vector<cuda::DecoderModel> models;
  const std::vector<float> decoder = c.decoded ? normals(random, size_t{dims} * c.dim, 0.3f) : std::vector<float>();
  const std::vector<float> mean = normals(random, c.dim, 0.2f);
  if (c.decoded) {
    decoders.emplace_back(spec, decoder.data(), mean.data(), c.dim);
    decoders.emplace_back(CodeSpec::make(std::span(spec.widths, 1)), decoder.data(), mean.data(), c.dim);
    for (const uint32_t planes : {spec.planes, 1u}) models.push_back({decoder.data(), mean.data(), c.dim, planes});
  }

  const bebr::Encoder here(Architecture::Linear, spec, {{layer}}, c.normalize, c.descends ? gram.data() : nullptr,
                           c.sweeps, c.tries);
  const cuda::Encoder there(0, {Architecture::Linear, spec, {{layer}}, c.normalize, {}, 0, descent, models});
  for (const bool optimize : {true, false}) {
    if (!optimize && !c.descends) continue;
    const size_t bytes = spec.row_bytes();
    std::vector<uint8_t> want(c.rows * bytes), got(c.rows * bytes), signs;
    std::vector<float> norms(c.rows * 2, -1), want_norms(c.rows * 2, -1);
    std::vector<float> lengths(c.rows);
    here.encode(x.data(), c.rows, false, optimize, want.data());
    cuda::EncodedNorms wanted;
    if (c.decoded) wanted = {norms.data(), lengths.data()};
    there.encode({x.data(), c.rows, c.dim, false, false}, optimize, got.data(), wanted);
    CHECK_SAME(got.data(), want.data(), want.size(), "planes, optimize " << optimize << "; " << c);
    if (!c.decoded) continue;
    decoders[0].squared_norms(want.data(), c.rows, want_norms.data());
    for (uint32_t i = 0; i < c.rows; ++i) {
      signs.insert(signs.end(), want.begin() + static_cast<ptrdiff_t>(i * bytes),
                   want.begin() + static_cast<ptrdiff_t>(i * bytes + dims / 8));
      if (c.normalize) continue;
      const float* row = x.data() + i * c.dim;
      CHECK(lengths[i] == std::sqrt(numpys_sum(row, c.dim)), "row " << i << "; " << c);
    }
    decoders[1].squared_norms(signs.data(), c.rows, want_norms.data() + c.rows);
    CHECK_SAME(norms.data(), want_norms.data(), norms.size(), "norms, optimize " << optimize << "; " << c);
  }
  ++cases.count;
}

// Layers between these numbers of outputs, and the memory that they stand in.
struct Stack {
  std::vector<std::vector<float>> memory;
  std::vector<Layer> layers;

  Stack(Random& random, const std::vector<uint32_t>& dims) {
    for (size_t i = 1; i < dims.size(); ++i) {
      const float scale = 1 / std::sqrt(static_cast<float>(dims[i - 1]));
      memory.push_back(normals(random, size_t{dims[i]} * dims[i - 1], scale));
      memory.push_back(normals(random, dims[i], 0.1f));
    }
    for (size_t i = 1; i < dims.size(); ++i)
      layers.push_back({memory[2 * i - 2].data(), memory[2 * i - 1].data(), dims[i - 1], dims[i]});
  }
};

// The paper's architecture behind an input adapter, against what the CPU's classes give one after the other.
BEBR_TEST(encode_recurrent_equals_the_cpu) {
  Random random(40);
  in_every_order(random, [&] {
    for (const auto& [dim, inner, hidden, rows, skip] :
         {std::tuple{24u, 24u, 40u, 30u, 0.5f}, {150u, 17u, 16u, 9u, 0.0f}, {9u, 140u, 33u, 130u, 0.0f}}) {
      const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{40, 24, 8});
      const Stack adapter(random, {dim, hidden, inner}), encoder(random, {inner, hidden, 40});
      std::vector<Stack> stacks;
      std::vector<std::vector<Layer>> networks{encoder.layers};
      for (uint32_t t = 1; t < spec.planes; ++t) {
        stacks.emplace_back(random, std::vector<uint32_t>{40, hidden, inner});
        stacks.emplace_back(random, std::vector<uint32_t>{inner, hidden, spec.widths[t]});
      }
      for (const Stack& stack : stacks) networks.push_back(stack.layers);
      std::vector<float> x = normals(random, size_t{rows} * dim, 1);
      far_lengths(x, dim);
      std::vector<float> given(x), entered(size_t{rows} * inner);
      std::fill_n(x.begin(), dim, 0.0f);
      std::fill_n(given.begin(), dim, 0.0f);
      normalize_rows(given.data(), rows, dim);
      Network(adapter.layers, "adapter").forward_all(given.data(), rows, entered.data());
      for (size_t i = 0; skip != 0 && i < entered.size(); ++i) entered[i] += skip * given[i];
      normalize_rows(entered.data(), rows, inner);
      std::vector<uint8_t> want(rows * spec.row_bytes()), got(want.size());
      bebr::Encoder(Architecture::Recurrent, spec, networks, true)
          .encode(entered.data(), rows, false, true, want.data());
      const cuda::Encoder there(0, {Architecture::Recurrent, spec, networks, true, adapter.layers, skip, {}, {}});
      there.encode({x.data(), rows, dim, false, false}, true, got.data(), {});
      CHECK_SAME(got.data(), want.data(), want.size(), "dim " << dim << ", inner " << inner << ", " << how());
      ++cases.count;
    }
  });
}

// Dims below and beyond what registers hold, ragged planes, rows that fill no tile, inputs that fill no 16.
BEBR_TEST(encode_equals_the_cpu) {
  Random random(31);
  in_every_order(random, [&] {
    compare(random, {{8}, 1, 1, true, true, true});
    compare(random, {{24, 16, 8}, 17, 150, true, true, true, 6, 2});
    compare(random, {{72, 72, 40}, 100, 20, false, true, true});
    compare(random, {{136, 128, 64, 40, 40, 24, 16, 8}, 33, 5, true, true, false, 20, 1});
    compare(random, {{200}, 48, 130, true, false, true});
    compare(random, {{264, 256}, 31, 9, false, true, false, 1, 0});
  });
}

// Time goes with the square of the dims: 4,096 take more than a minute under the sanitizers. So long codes run in one
// order; 264 dims have as many kinds of steps, and run in all.
BEBR_TEST(encode_of_a_long_code) {
  Random random(36);
  shuffle_threads();
  compare(random, {{520, 264, 96}, 16, 2, true, true, false, 4, 1});
  compare(random, {{1096, 8}, 24, 2, true, true, false, 1, 0});
}

// descend alone, for grids and gradients that no encoder made: values at the ends of the grid, sweeps that are too few.
BEBR_TEST(descend_equals_scalar) {
  Random random(32);
  in_every_order(random, [&] {
    for (const uint32_t dims : {8u, 40u, 256u, 296u, 512u, 776u})
      for (const uint32_t sweeps : {0u, 1u, 3u, 20u}) {
        const uint32_t rows = 1 + below(random, 6);
        const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{dims, (dims + 8) / 16 * 8, 8});
        const std::vector<float> gram = gram_of(random, dims);
        const DescentNumbers numbers = descent_numbers(spec, gram.data());
        const DescentGrid grid{dims,
                               descent_stride(dims),
                               numbers.gram.data(),
                               numbers.inverse.data(),
                               numbers.step.data(),
                               numbers.per_step.data()};
        const size_t stride = (dims + 31) / 32 * 32;
        std::vector<float> v(rows * grid.stride, 1), g(rows * grid.stride), wide_v(rows * stride, 1),
            wide_g(rows * stride), wide_gram(dims * stride), inverse(stride), step(stride, 2);
        for (uint32_t j = 0; j < dims; ++j) {
          std::copy_n(grid.gram + j * grid.stride, dims, wide_gram.data() + j * stride);
          inverse[j] = grid.inverse[j];
          step[j] = grid.step[j];
          for (uint32_t i = 0; i < rows; ++i) {
            const auto values = static_cast<int>(4 * grid.per_step[j]);
            const auto at = static_cast<float>(static_cast<int>(below(random, values)) - values / 2);
            wide_v[i * stride + j] = v[i * grid.stride + j] = (at + 0.5f) * grid.step[j];
            wide_g[i * stride + j] = g[i * grid.stride + j] = normals(random, 1, 1)[0];
          }
        }
        kernels(Isa::Scalar).descend(grid, rows, v.data(), g.data(), grid.stride, sweeps);
        const cuda::DeviceArray<float> on_gram(wide_gram), on_inverse(inverse), on_step(step), z(wide_v);
        cuda::DeviceArray<float> on_v(wide_v), on_g(wide_g);
        cuda::descend({dims, static_cast<uint32_t>(stride), rows, sweeps, 0, on_gram.data(), on_inverse.data(),
                       on_step.data(), z.data(), on_v.data(), on_g.data()});
        const std::vector<float> got_v = on_v.get(), got_g = on_g.get();
        for (uint32_t i = 0; i < rows; ++i) {
          CHECK_SAME(got_v.data() + i * stride, v.data() + i * grid.stride, dims, "v, dims " << dims << " row " << i);
          CHECK_SAME(got_g.data() + i * stride, g.data() + i * grid.stride, dims, "g, dims " << dims << " row " << i);
        }
        ++cases.count;
      }
  });
}

// What is on the device is read where it lies: float32 and fp16, rows apart, and a row that is not finite is named.
BEBR_TEST(encode_reads_the_device) {
  Random random(33);
  shuffle_threads();
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{40, 24});
  constexpr uint32_t kDim = 19, kRows = 140, kStride = 23;
  const std::vector<float> weight = normals(random, size_t{40} * kDim, 0.2f), bias(40);
  std::vector<float> x(size_t{kRows} * kDim), wide(size_t{kRows} * kStride, std::numeric_limits<float>::quiet_NaN());
  std::vector<uint16_t> halves(wide.size(), 0x7e00);
  for (uint32_t i = 0; i < kRows; ++i)
    for (uint32_t k = 0; k < kDim; ++k) {
      const uint16_t half = float_to_half(normals(random, 1, 1)[0]);
      halves[i * kStride + k] = half;
      wide[i * kStride + k] = x[i * kDim + k] = half_to_float(half);
    }
  const Layer layer{weight.data(), bias.data(), kDim, 40};
  const cuda::Encoder encoder(0, {Architecture::Linear, spec, {{layer}}, true, {}, 0, {}, {}});
  std::vector<uint8_t> want(kRows * spec.row_bytes()), got(want.size());
  encoder.encode({x.data(), kRows, kDim, false, false}, true, want.data(), {});
  cuda::DeviceArray<float> floats(wide);
  const cuda::DeviceArray<uint16_t> fp16(halves);
#if defined(BEBR_EMULATED)
  const cuda::Copied before = cuda::copied();
#endif
  encoder.encode({floats.address(), kRows, kStride, true, false}, true, got.data(), {});
  CHECK_SAME(got.data(), want.data(), want.size(), "float32 on the device");
  encoder.encode({fp16.address(), kRows, kStride, true, true}, true, got.data(), {});
  CHECK_SAME(got.data(), want.data(), want.size(), "fp16 on the device");
#if defined(BEBR_EMULATED)
  const cuda::Copied after = cuda::copied();
  CHECK(after.up == before.up, "vectors on the device were copied to it: " << after.up - before.up << " bytes");
  CHECK(after.down - before.down == 2 * (want.size() + 4), "copied to the host: " << after.down - before.down);
#endif
  wide[77 * kStride + 18] = std::numeric_limits<float>::infinity();
  floats.put(wide);
  try {
    encoder.encode({floats.address(), kRows, kStride, true, false}, true, got.data(), {});
    CHECK(false, "a row that is not finite was encoded");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "x[77] has an entry that is not finite: want finite numbers", error.what());
  }
}

#if defined(BEBR_EMULATED)
BEBR_TEST(encode_in_batches_as_memory_allows) {
  Random random(34);
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{16, 8});
  const std::vector<float> weight = normals(random, 16 * 8, 0.4f), bias(16), x = normals(random, 900 * 8, 1);
  const Layer layer{weight.data(), bias.data(), 8, 16};
  const cuda::Encoder encoder(0, {Architecture::Linear, spec, {{layer}}, false, {}, 0, {}, {}});
  std::vector<uint8_t> want(900 * 3), got(900 * 3);
  const size_t left = cuda::free_memory();
  cuda::set_memory((size_t{1} << 36) - left + 200 * 1024);
  encoder.encode({x.data(), 900, 8, false, false}, true, got.data(), {});
  CHECK(cuda::free_memory() > 60 * 1024, "half of the memory is left to others: " << cuda::free_memory());
  cuda::set_memory(size_t{1} << 36);
  encoder.encode({x.data(), 900, 8, false, false}, true, want.data(), {});
  CHECK_SAME(got.data(), want.data(), want.size(), "in batches");
}
#endif

BEBR_TEST(assign_equals_the_cpu) {
  Random random(35);
  in_every_order(random, [&] {
    for (const auto& [dim, count, rows] :
         {std::tuple{1u, 1u, 1u}, {17u, 5u, 130u}, {33u, 128u, 20u}, {20u, 300u, 40u}}) {
      std::vector<float> centroids = normals(random, size_t{count} * dim, 1),
                         x = normals(random, size_t{rows} * dim, 1);
      for (uint32_t c = 3; c < count; c += 7)  // equal ones: the smaller number
        std::copy_n(centroids.data() + c / 2 * dim, dim, centroids.data() + c * dim);
      std::vector<uint32_t> want(rows), got(rows);
      bebr::Centroids(dim, count, centroids.data(), false).assign(x.data(), rows, want.data());
      cuda::Centroids(0, dim, count, centroids.data()).assign(x.data(), rows, got.data());
      CHECK_SAME(got.data(), want.data(), rows, "dim " << dim << ", " << count << " centroids");
      ++cases.count;
    }
  });
}

// The best list of a row by the specification: groups by their means, then lists in them.
uint32_t looked_up(const cuda::GroupedCentroids& groups, const std::vector<float>& centroids, const float* x,
                   uint32_t dim) {
  const auto score = [&](const float* c) {
    float sum = -half_norm(c, dim);
    for (uint32_t k = 0; k < dim; ++k) sum = std::fma(x[k], c[k], sum);
    return sum;
  };
  std::vector<std::pair<float, uint32_t>> order;  // what is worse is larger
  for (uint32_t g = 0; g < groups.groups(); ++g) order.emplace_back(-score(groups.means().data() + g * dim), g);
  std::sort(order.begin(), order.end());
  std::pair<float, uint32_t> best(std::numeric_limits<float>::infinity(), 0);
  for (size_t i = 0; i < std::min<size_t>(order.size(), cuda::kGroupsLooked); ++i)
    for (const uint32_t list : groups.members()[order[i].second])
      best = std::min(best, {-score(centroids.data() + size_t{list} * dim), list});
  return best.second;
}

BEBR_TEST(assign_in_groups_equals_the_specification) {
  Random random(39);
  in_every_order(random, [&] {
    for (const auto& [dim, count, rows, length] :
         {std::tuple{3u, 20u, 40u, 1.0f}, {9u, 190u, 150u, 1.0f}, {17u, 150u, 9u, 0.1f}, {5u, 400u, 30u, 1.0f}}) {
      std::vector<float> centroids = normals(random, size_t{count} * dim, 1),
                         x = normals(random, size_t{rows} * dim, length);
      for (uint32_t c = 3; c < count; c += 7)  // equal ones: the smaller number
        std::copy_n(centroids.data() + c / 2 * dim, dim, centroids.data() + c * dim);
      for (uint32_t c = 0; c < count && count == 400; ++c)  // one group with most of them
        for (uint32_t k = 0; c % 20 != 0 && k < dim; ++k)
          centroids[c * dim + k] = x[k] + 0.02f * (centroids[c * dim + k] - x[k]);
      for (uint32_t i = 0; i < rows / 3; ++i) std::copy_n(x.data(), dim, x.data() + i * dim);  // a group with many
      const cuda::Centroids there(0, dim, count, centroids.data(), 16);
      const cuda::GroupedCentroids& groups = *there.grouped();
      size_t held = 0;
      for (const auto& members : groups.members()) held += members.size();
      CHECK(held == count, held << " centroids in groups: want " << count);
      std::vector<uint32_t> want(rows), got(rows);
      for (uint32_t i = 0; i < rows; ++i) want[i] = looked_up(groups, centroids, x.data() + i * dim, dim);
      there.assign(x.data(), rows, got.data());
      CHECK_SAME(got.data(), want.data(), rows, "dim " << dim << ", " << count << " centroids in groups");
      ++cases.count;
    }
  });
}

}  // namespace
}  // namespace bebr::test
