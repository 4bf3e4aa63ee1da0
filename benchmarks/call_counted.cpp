// What `benchmarks.call_instructions` counts the instructions of.
//
//   bebr_call_counted front DIM METRICS ROWS      a front whose searches cost nothing, of what it takes for so many
//   rows;
//                                                 METRICS 1: it counts calls
//   bebr_call_counted search DIM ROWS N TIMES     as many searches of N queries over random rows, without a front
//   bebr_call_counted echo IN OUT                 what any server does for a call: it reads IN bytes and sends OUT
//
// The first and the last print the port that they listen at on 127.0.0.1. The first stops where its input ends, the
// last where its only connection does.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

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
  Instant(size_t dim, size_t rows) : dim_(dim), rows_(rows) {}
  size_t rows() const noexcept override { return rows_; }
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
  size_t dim_, rows_;
};

int serve(size_t dim, bool metrics, size_t rows) {
  FrontOptions options;
  options.upstream = "/nowhere";  // nothing is forwarded
  options.bounds = {{1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, .1, .2, .5, 1, 2, 5, 10, 30, 60},
                    {1, 2, 4, 8, 16, 32, 64, 128, 256}};  // bebr/serve/calls.py
  Front front(options, std::make_shared<ByteBudget>(size_t{1} << 30));
  if (metrics) front.count();
  front.publish("docs", "", std::make_shared<Instant>(dim, rows));
  std::printf("%d\n", front.start());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

int echo(size_t in, size_t out) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0), events = epoll_create1(0), on = 1;
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 1) != 0) return 1;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  const int client = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_event event{};
  event.events = EPOLLIN;
  epoll_ctl(events, EPOLL_CTL_ADD, client, &event);
  std::vector<char> read(64 << 10);
  const std::vector<char> sent(out);
  for (size_t got = 0;;) {
    epoll_wait(events, &event, 1, -1);
    const ssize_t n = recv(client, read.data(), read.size(), 0);
    if (n <= 0) return 0;
    for (got += static_cast<size_t>(n); got >= in; got -= in)
      if (send(client, sent.data(), out, MSG_NOSIGNAL) != static_cast<ssize_t>(out)) return 1;
  }
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
  if (what == "front" && count == 5) return serve(number(2), number(3) == 1, number(4));
  if (what == "echo" && count == 4) return echo(number(2), number(3));
  if (what == "search" && count == 6) return search(static_cast<uint32_t>(number(2)), number(3), number(4), number(5));
  std::fprintf(stderr, "usage: bebr_call_counted front DIM METRICS ROWS | search DIM ROWS N TIMES | echo IN OUT\n");
  return 2;
}
