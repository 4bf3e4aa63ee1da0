// One kernel call, and the replies to those who wait for it.
#include <algorithm>
#include <utility>

#include "server/batcher.h"
#include "server/wire.h"

namespace bebr {
namespace {

// bebr/serve/services/points.py, of an answer in a reply with texts: its columns and a text, beside what that has;
// bytes of a key beside the key.
constexpr size_t kRowBytes = 18, kKeyBytes = 6;
// Of a reply with texts that is made here: it is copied by a thread that others wait for.
constexpr size_t kOwnTexts = 1 << 20;

// The texts of a reply, counted in the budget until it is sent. False where it is Python's to send or to refuse.
bool add_texts(const Means& means, const Searcher& searcher, const Answers& answers, Job& job, RowTexts& texts) {
  if (!job.payloads && !searcher.keyed()) return true;
  const std::vector<int64_t> shown = answers.shown();
  if (!searcher.try_texts(shown.data(), shown.size(), job.payloads, texts)) return false;
  const size_t rows = answers.n * (answers.depth - answers.offset);  // those that are missing count, too
  size_t size = kRowBytes * rows + (searcher.keyed() ? kKeyBytes * rows : 0);
  for (const std::vector<std::string_view>* column : {&texts.payloads, &texts.keys})
    for (const std::string_view text : *column) size += text.size();
  if (size > std::min(kOwnTexts, means.reply_bytes)) return false;
  return job.texts.take(means.budget, 2 * size);
}

// What a kernel call reads and writes. A thread keeps this memory for its next call, unless that is much: of a batch it
// would be more than malloc keeps, and be cleared anew each time.
struct Room {
  std::vector<float> queries, scores;
  std::vector<int64_t> rows, ids;

  static constexpr size_t kKept = 1 << 18;  // of each
  template <typename T>
  static T* at_least(std::vector<T>& part, size_t size) {
    if (part.size() < size) part.resize(size);
    return part.data();
  }
  void leave() noexcept {
    if (std::max({queries.size(), scores.size(), rows.size(), ids.size()}) > kKept) *this = {};
  }
};

thread_local Room room;

using Wanted = std::vector<Job*>;

// The queries of some jobs, one after the other.
const float* queries_of(const Wanted& jobs, size_t dim, size_t count) {
  float* const all = Room::at_least(room.queries, count * dim);
  float* next = all;
  for (const Job* job : jobs) {
    load_queries(job->values(), job->half, next);
    next += job->count * dim;
  }
  return all;
}

const int64_t* rows_of(const Wanted& jobs, size_t count) {
  if (jobs.size() == 1) return jobs.front()->rows.data();
  int64_t* const all = Room::at_least(room.rows, count);
  int64_t* next = all;
  for (const Job* job : jobs) next = std::copy(job->rows.begin(), job->rows.end(), next);
  return all;
}

// What a kernel call found: scores and ids [queries, depth], or by groups [queries, k, size].
struct Hits {
  const float* scores;
  const int64_t* ids;
  RowGroups groups{};
};

std::optional<Hits> searched(const Searcher& searcher, const Wanted& jobs, size_t queries,
                             const CollectionSearch& asked) {
  const Job& one = *jobs.front();
  const int64_t* const rows = one.rows.empty() ? nullptr : rows_of(jobs, queries);
  const float* const vectors = one.rows.empty() ? queries_of(jobs, searcher.query_dim(), queries) : nullptr;
  if (one.group_size > 0) {
    Hits hits{};
    if (!searcher.try_search_groups(vectors, rows, queries, asked, one.group_size, hits.groups)) return std::nullopt;
    hits.scores = hits.groups.scores.data();
    hits.ids = hits.groups.ids.data();
    return hits;
  }
  Hits hits{Room::at_least(room.scores, queries * asked.k), Room::at_least(room.ids, queries * asked.k)};
  float* const scores = room.scores.data();
  int64_t* const ids = room.ids.data();
  if (rows != nullptr ? !searcher.try_search_rows(rows, queries, asked, scores, ids)
                      : !searcher.try_search(vectors, queries, asked, scores, ids))
    return std::nullopt;
  return hits;
}

// The reply to a job whose queries begin at `first`; where none is made here, it is Python's.
void reply(const Means& means, const Searcher& searcher, const Hits& hits, size_t first, Job& job) {
  const size_t k = job.asked.k, size = std::max<size_t>(1, job.group_size), at = first * k * size;
  Answers answers{hits.scores + at, hits.ids + at, job.count, k, job.offset, 0, static_cast<uint32_t>(job.batch)};
  RowGroups shown;
  if (job.group_size > 0) {  // groups before the offset are left out, and each is shown as a query is
    const size_t from = job.offset;
    for (size_t q = 0; q < job.count; ++q) {
      const auto part = [&](const auto& all, auto& to, size_t each) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>((first + q) * k * each);
        to.insert(to.end(), begin + static_cast<std::ptrdiff_t>(from * each),
                  begin + static_cast<std::ptrdiff_t>(k * each));
      };
      part(hits.groups.scores, shown.scores, size);
      part(hits.groups.ids, shown.ids, size);
      part(hits.groups.values, shown.values, 1);
    }
    answers = {shown.scores.data(), shown.ids.data(), shown.values.size(), size, 0, 0, answers.batch, shown.values};
  }
  job.outcome = Outcome::Failed;
  RowTexts texts;
  if (!add_texts(means, searcher, answers, job, texts)) return;
  answers.elapsed_us = (now_ns() - job.arrival) / 1000;
  job.reply = std::move(job.message);
  write_reply(answers, texts, job.reply);
  job.outcome = Outcome::Answered;
}

}  // namespace

void answer(const Means& means, const Jobs& jobs) {
  const auto batch = std::make_shared<Batch>();
  Wanted wanted;
  wanted.reserve(jobs.size());
  size_t queries = 0;
  for (const std::shared_ptr<Job>& job : jobs) {
    job->outcome = Outcome::Cancelled;
    if (!job->join(batch)) continue;
    wanted.push_back(job.get());
    queries += job->count;
  }
  batch->less();
  if (wanted.empty()) return;
  const std::shared_ptr<const Published> shown = means.shelf.find(wanted.front()->collection);
  const std::shared_ptr<const Searcher> searcher = shown ? shown->searcher(wanted.front()->filter) : nullptr;
  bool good = searcher != nullptr;
  for (Job* const job : wanted) {
    job->outcome = Outcome::Failed;
    good = good && (job->rows.empty() ? job->values_size == job->count * searcher->query_dim() * (job->half ? 2 : 4)
                                      : job->rows.size() == job->count);
  }
  if (!good) return;
  CollectionSearch asked = wanted.front()->asked;
  asked.stop = &batch->stop;
  SearchWork work;
  asked.work = &work;
  if (wanted.front()->allow) asked.allow = *wanted.front()->allow;
  const uint64_t begin = now_ns();
  const bool by_rows = !wanted.front()->rows.empty();
  const std::optional<Hits> found = searched(*searcher, wanted, queries, asked);
  if (!found) {
    for (const std::shared_ptr<Job>& job : jobs) {
      if (job->outcome != Outcome::Failed) continue;
      if (job->cancelled())
        job->outcome = Outcome::Cancelled;
      else if (by_rows && wanted.size() > 1)
        answer(means, {job});  // a row that is not there is the others' no fault
    }
    return room.leave();
  }
  const uint64_t took = now_ns() - begin;
  BatchingCounts& counts = wanted.front()->counts->batching;
  counts.requests += wanted.size();
  counts.queries += queries;
  counts.batches += 1;
  counts.work.add(work.scanned, work.survivors);
  uint64_t largest = counts.largest;
  while (largest < queries && !counts.largest.compare_exchange_weak(largest, queries)) {
  }
  size_t first = 0;
  for (Job* const job : wanted) {
    job->began = begin;
    job->searched = took;
    job->batch = queries;
    job->scanned = work.scanned;
    job->survivors = work.survivors;
    job->outcome = Outcome::Cancelled;
    if (!job->cancelled()) reply(means, *searcher, *found, first, *job);
    first += job->count;
  }
  room.leave();
}

}  // namespace bebr
