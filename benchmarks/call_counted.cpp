// What `benchmarks.call_instructions` counts the instructions of.
//
//   bebr_call_counted front DIM METRICS           a front whose searches cost nothing; METRICS 1: it counts calls
//   bebr_call_counted search DIM ROWS N TIMES     as many searches of N queries over random rows, without a front
//
// The first prints the port that it listens at on 127.0.0.1, and stops where its input ends.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/threads.h"
#include "collection/snapshot.h"
#include "server/front.h"

namespace {

using namespace bebr;

std::vector<float> normal(size_t count, double scale, std::mt19937& random) {
  std::normal_distribution<float> of(0, static_cast<float>(scale));
  std::vector<float> made(count);
  for (float& value : made) value = of(random);
  return made;
}

// One bit a dimension, a factor of four bytes: 52 bytes at 384.
std::shared_ptr<const CollectionSnapshot> collection(uint32_t dim, size_t rows) {
  std::mt19937 random(1);
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{dim});
  const std::vector<float> weight = normal(size_t{dim} * dim, 1 / std::sqrt(dim), random), bias(dim);
  QueryModel::Parts parts;
  const std::vector<std::vector<Layer>> layers{{{weight.data(), bias.data(), dim, dim}}};
  const auto encoder = std::make_shared<const Encoder>(Architecture::Linear, spec, layers, true);
  parts.encoder = encoder;
  parts.decoder = std::make_shared<Decoder>(spec, weight.data(), bias.data(), dim);
  parts.stage = parts.decoder;
  auto model = std::make_shared<const QueryModel>(std::move(parts));
  const std::vector<float> x = normal(rows * dim, 1, random), factors(rows, 1);
  std::vector<uint8_t> planes(rows * spec.row_bytes());
  encoder->encode(x.data(), rows, false, false, planes.data());
  std::vector<int64_t> ids(rows);
  for (size_t i = 0; i < rows; ++i) ids[i] = static_cast<int64_t>(i);
  const auto tail = std::make_shared<TailRows>(RowFormat{spec, Factor::Mul, false, FactorCode::make(4, 0, 0), {}});
  tail->append(rows, planes.data(), reinterpret_cast<const uint8_t*>(factors.data()), ids.data());
  auto part = std::make_shared<CollectionPart>();
  part->reader = tail->freeze();
  part->tail = tail;
  return std::make_shared<const CollectionSnapshot>(std::move(model),
                                                    std::vector<std::shared_ptr<const CollectionPart>>{std::move(part)},
                                                    CollectionSnapshot::Settings{rows, 0, 3, {}});
}

// Finds the first rows, whatever is asked for.
class Instant final : public Searcher {
 public:
  explicit Instant(size_t dim) : dim_(dim) {}
  size_t rows() const noexcept override { return 1000; }
  size_t query_dim() const noexcept override { return dim_; }
  bool keeps_vectors() const noexcept override { return false; }
  bool has_decoder() const noexcept override { return true; }
  size_t candidates(size_t, std::optional<size_t>) const noexcept override { return 0; }
  bool try_search(const float*, size_t n, const CollectionSearch& asked, float* scores,
                  int64_t* ids) const noexcept override {
    std::fill_n(scores, n * asked.k, 1.0f);
    for (size_t i = 0; i < n * asked.k; ++i) ids[i] = static_cast<int64_t>(i % asked.k);
    return true;
  }
  bool try_search_rows(const int64_t*, size_t, const CollectionSearch&, float*, int64_t*) const noexcept override {
    return false;
  }
  bool keyed() const noexcept override { return false; }
  bool try_texts(const int64_t*, size_t, bool, RowTexts&) const noexcept override { return false; }

 private:
  size_t dim_;
};

int serve(size_t dim, bool metrics) {
  FrontOptions options;
  options.upstream = "/nowhere";  // nothing is forwarded
  options.bounds = {{1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, .1, .2, .5, 1, 2, 5, 10, 30, 60},
                    {1, 2, 4, 8, 16, 32, 64, 128, 256}};  // bebr/serve/calls.py
  Front front(options, std::make_shared<ByteBudget>(size_t{1} << 30));
  if (metrics) front.count();
  front.publish("docs", "", std::make_shared<Instant>(dim));
  std::printf("%d\n", front.start());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

int search(uint32_t dim, size_t rows, size_t queries, size_t times) {
  set_num_threads(1);
  const auto searched = collection(dim, rows);
  std::mt19937 random(2);
  const std::vector<float> q = normal(queries * dim, 1, random);
  CollectionSearch asked;
  std::vector<float> scores(queries * asked.k);
  std::vector<int64_t> ids(queries * asked.k);
  for (size_t i = 0; i < times; ++i)
    if (!searched->try_search(q.data(), queries, asked, scores.data(), ids.data())) return 1;
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  const auto number = [&](int i) { return static_cast<size_t>(std::strtoul(arguments[i], nullptr, 10)); };
  if (what == "front" && count == 4) return serve(number(2), number(3) == 1);
  if (what == "search" && count == 6) return search(static_cast<uint32_t>(number(2)), number(3), number(4), number(5));
  std::fprintf(stderr, "usage: bebr_call_counted front DIM METRICS | search DIM ROWS N TIMES\n");
  return 2;
}
