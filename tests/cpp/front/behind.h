// What is behind a front: a collection, and the server to which calls are forwarded.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "collection/searcher.h"

namespace bebr::test {

inline constexpr size_t kDim = 4;

// Answers every query by the ids first, first + 1, ...; first: the query's first value. Where some are allowed, by
// these in their order.
class FakeCollection final : public Searcher {
 public:
  explicit FakeCollection(size_t rows, uint32_t slow_ms = 0, bool keyed = false)
      : rows_(rows), slow_ms_(slow_ms), keyed_(keyed) {}
  size_t rows() const noexcept override { return rows_; }
  size_t query_dim() const noexcept override { return kDim; }
  bool keeps_vectors() const noexcept override { return false; }
  bool has_decoder() const noexcept override { return true; }
  size_t candidates(size_t, std::optional<size_t>) const noexcept override { return 0; }
  bool try_search(const float* queries, size_t n, const CollectionSearch& asked, float* scores,
                  int64_t* ids) const noexcept override;
  // The rows after each; of row 13 there is none.
  bool try_search_rows(const int64_t* of, size_t n, const CollectionSearch& asked, float* scores,
                       int64_t* ids) const noexcept override;
  // Groups of the rows that a search finds, in their order: "g0" of the first `size`, and so on.
  bool try_search_groups(const float* queries, const int64_t* of, size_t n, const CollectionSearch& asked, size_t size,
                         RowGroups& out) const noexcept override;
  bool keyed() const noexcept override { return keyed_; }
  // Payloads of as many x as the id says, keys of as many k; of id 13 one is damaged.
  bool try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept override;

  mutable std::atomic<int> running{0}, stopped{0};

 private:
  size_t rows_;
  uint32_t slow_ms_;
  bool keyed_;
};

// An HTTP/2 server at a Unix socket. What it does goes by the path: /echo the body again, /empty nothing, /big 300 kB,
// /late after 20 ms, /reset RST_STREAM, /early an answer before the request has ended, /gone the end of the connection;
// /bebr.v1.Points/Search the text "behind".
class ServerBehind {
 public:
  ServerBehind();
  ~ServerBehind();
  const std::string& path() const noexcept { return path_; }

  std::atomic<int> calls{0};

 private:
  void serve(int socket);
  std::string folder_, path_;
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<int> serving_{0};
  std::thread accepting_;
};

}  // namespace bebr::test
