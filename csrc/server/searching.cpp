// The searches of a loop, and listings: from a message that is complete to the reply.
#include <algorithm>
#include <utility>

#include "server/loop.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr size_t kOwnReply = 256 << 10;  // bytes of a reply that is made here
constexpr size_t kInlineRows = 100'000;  // that this thread looks at itself between two events
constexpr size_t kGroupSearches = 4;     // of one by groups, by guess: it goes on until it has enough groups
constexpr size_t kFindRows = 64;         // that are looked at while one is found by its id

// The rows to search by, or where in the message the queries are; false where they do not fit what is searched.
bool read_what(const Stream& stream, const SearchRequest& request, const Searcher& searcher, Job& job) {
  if (!request.by_ids) {
    job.values_at = static_cast<size_t>(request.values.data() - stream.in.data());
    job.values_size = request.values.size();
    job.half = request.half;
    return request.dimension == searcher.query_dim() && (request.asked.coded || searcher.has_decoder()) &&
           good_queries(request);
  }
  std::optional<std::vector<int64_t>> rows = read_ids(*request.by_ids, searcher.keyed());
  if (rows) job.rows = std::move(*rows);
  return rows.has_value();
}

}  // namespace

bool Loop::answers(Stream& stream) {
  return value_of(stream.headers, ":path") == kListPath ? list(stream) : search(stream);
}

// Roots look at their leaves in this way, twice a second each.
bool Loop::list(Stream& stream) {
  if (stream.key != nullptr && stream.key->collections) return false;  // who is shown not all of them
  const std::shared_ptr<const std::string> kept = front_.shelf_.listing(std::string_view(stream.in).substr(kFrameHead));
  if (!kept) return false;
  stream.request_id = front_.request_id(stream.headers);
  ++front_.counts_.listed;
  stream.connection->reply(stream, *kept);
  return true;
}

bool Loop::search(Stream& stream) {
  const std::optional<SearchRequest> request = read_search(std::string_view(stream.in).substr(kFrameHead));
  if (!request) return false;
  if (stream.key != nullptr && !stream.key->granted(request->collection)) return refuse(stream, request->collection);
  if (front_.routes_.used)
    if (std::shared_ptr<const Route> route = front_.routes_.find(request->collection))
      return scatter(stream, *request, std::move(route));
  const std::shared_ptr<const Published> shown = front_.shelf_.find(request->collection);
  if (!shown || (!request->model.empty() && request->model != shown->model)) return false;
  std::optional<std::string> key;
  if (request->group_by) key = group_key(request->filter, *request->group_by);
  if (!request->group_by && request->filter) key.emplace(*request->filter);
  const std::shared_ptr<const Searcher> found = shown->searcher(key);
  if (!found) return false;
  const Searcher& searcher = *found;
  const FrontOptions& limits = front_.options_;
  const size_t count = request->count, depth = request->asked.k + request->offset;
  const size_t rescore = request->asked.rescore.value_or(0), shown_rows = depth * request->group_size;
  const size_t rows = std::max(shown_rows, rescore * request->group_size);
  if (count < 1 || count > limits.most_batch || count > limits.queries) return false;
  if (rows > limits.k || count * rows > limits.answers || count * shown_rows > kOwnReply / 12) return false;
  if (rescore > 0 && !searcher.keeps_vectors()) return false;
  auto job = std::make_shared<Job>();
  if (!read_what(stream, *request, searcher, *job)) return false;
  if (request->allow && !(job->allow = read_ids(*request->allow, searcher.keyed()))) return false;
  if (std::max(job->rows.size(), job->allow ? job->allow->size() : 0) > limits.ids) return false;
  job->asked = request->asked;
  job->asked.k = depth;
  const size_t answers = count * (rows + searcher.candidates(shown_rows, job->asked.rescore));
  if (!stream.lease.take(*front_.budget_, kAnswerBytes * answers + kCopies * stream.in.size())) return false;
  stream.request_id = front_.request_id(stream.headers);
  job->collection = shown->name;
  job->counts = shown->counts;
  if (request->collection != shown->name) job->alias = request->collection;
  job->offset = request->offset;
  job->payloads = request->payloads;
  job->filter = std::move(key);
  if (request->group_by) job->group_size = request->group_size;
  job->count = count;
  job->arrival = stream.arrival;
  job->cost = count * searcher.rows();
  if (request->group_by) job->cost *= kGroupSearches;
  if (job->allow) job->cost = count * std::min(searcher.rows(), kFindRows * job->allow->size());
  job->loop = number_;
  job->connection = stream.connection->id();
  job->stream = stream.id;
  job->message = std::move(stream.in);  // of which the request is: it is of no use any more
  stream.job = job;
  ready_.push_back(std::move(job));
  if (stream.deadline > 0) deadlines_.emplace(stream.deadline, stream.connection->id(), stream.id);
  return true;
}

// Of a collection that the caller's key is not for.
bool Loop::refuse(Stream& stream, std::string_view collection) {
  const std::optional<std::string> text = stream.key->refusal(collection);
  if (!text) return false;
  stream.request_id = front_.request_id(stream.headers);
  ++front_.counts_.denied;
  front_.ended(collection, 7, stream, number_);
  stream.connection->fail(stream, "7", *text);
  return true;
}

void Loop::forget(Stream& stream, int code) {
  if (const std::shared_ptr<Scatter> of = take_back(stream)) {
    ++front_.counts_.cancelled;
    return front_.ended(of->collection, code, stream, number_);
  }
  if (!stream.job) return;
  if (stream.deadline > 0) deadlines_.erase({stream.deadline, stream.connection->id(), stream.id});
  stream.job->cancel();
  front_.finished(*stream.job, code, stream);
  stream.job.reset();
  ++front_.counts_.cancelled;
}

// What came with the last events: few rows are looked at here and now, where nobody else does; that costs less than to
// hand them over.
void Loop::run_ready() {
  if (ready_.empty()) return;
  Jobs ready = std::exchange(ready_, {});
  size_t cost = 0;
  for (const std::shared_ptr<Job>& job : ready) cost += job->cost;
  if (cost > kInlineRows || !front_.batcher_->idle()) return front_.batcher_->add(std::move(ready));
  for (size_t begin = 0; begin < ready.size();) {
    Jobs alike;
    alike.push_back(std::move(ready[begin]));
    size_t queries = alike.front()->count, kept = begin + 1;
    for (size_t i = begin + 1; i < ready.size(); ++i) {
      const Job& one = *ready[i];
      if (one.alike(*alike.front()) && queries + one.count <= front_.options_.most_batch) {
        queries += one.count;
        alike.push_back(std::move(ready[i]));
        std::swap(ready[i], ready[kept++]);
      }
    }
    begin = kept;
    answer(front_.means_, alike);
    finish(alike);
  }
}

void Loop::finish(const Jobs& jobs) {
  for (const std::shared_ptr<Job>& job : jobs) {
    Connection* const found = connection(job->connection);
    Stream* const stream = found == nullptr ? nullptr : found->stream(job->stream);
    if (stream == nullptr || stream->job != job) continue;
    if (stream->deadline > 0) deadlines_.erase({stream->deadline, found->id(), stream->id});
    stream->job.reset();
    if (job->outcome == Outcome::Answered) {
      ++front_.counts_.answered;
      front_.finished(*job, 0, *stream);
      stream->texts = std::move(job->texts);
      found->reply(*stream, std::move(job->reply));
    } else if (job->outcome == Outcome::Failed) {  // whatever is wrong, the server behind has words for it
      stream->lease = {};
      stream->in = std::move(job->message);
      found->forward(*stream);
    } else {
      found->fail(*stream, "14", "the server stops");
    }
  }
}

void Loop::expire() {
  const uint64_t now = now_ns();
  while (!deadlines_.empty() && std::get<0>(*deadlines_.begin()) <= now) {
    const auto [when, id, number] = *deadlines_.begin();
    deadlines_.erase(deadlines_.begin());
    Connection* const found = connection(id);
    Stream* const stream = found == nullptr ? nullptr : found->stream(number);
    if (stream == nullptr || (!stream->job && !stream->scatter)) continue;
    forget(*stream, 4);
    ++front_.counts_.late;
    found->fail(*stream, "4", "Deadline Exceeded");
  }
  ask_beside(now);
  while (!young_.empty() && young_.front().first <= now) {
    Connection* const found = connection(young_.front().second);
    young_.pop_front();
    if (found != nullptr && !found->greeted()) found->set_dead();
  }
  while (!lingering_.empty() && lingering_.front().first <= now) {
    Connection* const found = connection(lingering_.front().second);
    lingering_.pop_front();
    if (found == nullptr) continue;
    if (found->lingers())
      linger(*found);
    else
      found->set_dead();
  }
}

}  // namespace bebr
