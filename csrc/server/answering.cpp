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

// What some jobs search for, one after the other, without a copy where there is only one.
template <typename T>
class Joined {
 public:
  Joined(const Jobs& jobs, std::vector<T> Job::* part) : data_((*jobs.front().*part).data()) {
    if (jobs.size() == 1) return;
    for (const std::shared_ptr<Job>& job : jobs) all_.insert(all_.end(), (*job.*part).begin(), (*job.*part).end());
    data_ = all_.data();
  }
  const T* data() const noexcept { return data_; }

 private:
  std::vector<T> all_;
  const T* data_;
};

}  // namespace

void answer(const Means& means, const Jobs& jobs) {
  const auto batch = std::make_shared<Batch>();
  Jobs wanted;
  size_t queries = 0;
  for (const std::shared_ptr<Job>& job : jobs) {
    job->outcome = Outcome::Cancelled;
    if (!job->join(batch)) continue;
    wanted.push_back(job);
    queries += job->count;
  }
  batch->less();
  if (wanted.empty()) return;
  const std::shared_ptr<const Published> shown = means.shelf.find(wanted.front()->collection);
  const std::shared_ptr<const Searcher> searcher = shown ? shown->searcher(wanted.front()->filter) : nullptr;
  const size_t k = wanted.front()->asked.k;
  bool good = searcher != nullptr;
  for (const std::shared_ptr<Job>& job : wanted) {
    job->outcome = Outcome::Failed;
    good = good && (job->rows.empty() ? job->queries.size() == job->count * searcher->query_dim()
                                      : job->rows.size() == job->count);
  }
  if (!good) return;
  CollectionSearch asked = wanted.front()->asked;
  asked.stop = &batch->stop;
  if (wanted.front()->allow) asked.allow = *wanted.front()->allow;
  std::vector<float> scores(queries * k);
  std::vector<int64_t> ids(queries * k);
  const uint64_t begin = now_ns();
  const bool by_rows = !wanted.front()->rows.empty();
  const bool found =
      by_rows ? searcher->try_search_rows(Joined(wanted, &Job::rows).data(), queries, asked, scores.data(), ids.data())
              : searcher->try_search(Joined(wanted, &Job::queries).data(), queries, asked, scores.data(), ids.data());
  if (!found) {
    for (const std::shared_ptr<Job>& job : wanted) {
      if (job->cancelled())
        job->outcome = Outcome::Cancelled;
      else if (by_rows && wanted.size() > 1)
        answer(means, {job});  // a row that is not there is the others' no fault
    }
    return;
  }
  const uint64_t took = now_ns() - begin;
  BatchingCounts& counts = means.shelf.counts(wanted.front()->collection);
  counts.requests += wanted.size();
  counts.queries += queries;
  counts.batches += 1;
  uint64_t largest = counts.largest;
  while (largest < queries && !counts.largest.compare_exchange_weak(largest, queries)) {
  }
  size_t first = 0;
  for (const std::shared_ptr<Job>& job : wanted) {
    job->began = begin;
    job->searched = took;
    job->batch = queries;
    Answers answers{scores.data() + first * k,     ids.data() + first * k, job->count, k, job->offset, 0,
                    static_cast<uint32_t>(queries)};
    RowTexts texts;
    if (job->cancelled()) {
      job->outcome = Outcome::Cancelled;
    } else if (add_texts(means, *searcher, answers, *job, texts)) {
      answers.elapsed_us = (now_ns() - job->arrival) / 1000;
      job->reply = write_reply(answers, texts);
      job->outcome = Outcome::Answered;
    }
    first += job->count;
  }
}

}  // namespace bebr
