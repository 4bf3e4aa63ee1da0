// Searches of collections in shards: one leaf of each shard is asked, and what they answer made one. Whatever is not as
// it should be on the way has the call forwarded: the server behind tries again by its own rules.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "server/loop.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr size_t kOwnAnswers = 16'384;   // of all shards, that are merged here between two events
constexpr size_t kOwnReplies = 4 << 20;  // bytes of their replies
// ns after which leaves have, as a rule, what another one has written: _HEARD of bebr/cluster/leaves.py.
constexpr uint64_t kFollowed = 250'000'000;
constexpr uint8_t kAnother = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX;

// Whether a leaf gave the whole of an answer: one message, not compressed, and the status OK.
bool answered(const Stream& leaf) {
  const std::string_view early = value_of(leaf.headers, "grpc-status");
  const std::optional<size_t> length = framed_length(leaf.in);
  return value_of(leaf.headers, ":status") == "200" &&
         (early.empty() ? value_of(leaf.trailers, "grpc-status") : early) == "0" && length &&
         leaf.in.size() == kFrameHead + *length;
}

// As Leaves.read of bebr/cluster/leaves.py says it.
std::string silence(const Scatter& of) {
  const auto silent = std::find_if(of.parts.begin(), of.parts.end(), [](const Part& one) { return !one.answered; });
  const Shard& shard = of.route->shards[static_cast<size_t>(silent - of.parts.begin())];
  std::string names;
  for (const std::shared_ptr<const Leaf>& leaf : shard.leaves) names += (names.empty() ? "" : ", ") + leaf->name;
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g", static_cast<double>(of.route->patience) * 1e-9);
  return "shard " + shard.collection + ": none of " + names + " answered within " + seconds + " s";
}

}  // namespace

bool Loop::scatter(Stream& stream, const SearchRequest& request, std::shared_ptr<const Route> route) {
  const FrontOptions& limits = front_.options_;
  const size_t count = request.count, depth = request.asked.k + request.offset, shards = route->shards.size();
  if (stream.arrival >= route->until) return false;
  std::optional<std::vector<int64_t>> allow;
  if (shards > 1) {  // an only one is asked for whatever it may be
    if (request.group_by || request.by_ids || !good_queries(request)) return false;
    if (count < 1 || count > limits.queries || depth > limits.k || count * depth > limits.answers) return false;
    if (count * depth * shards > kOwnAnswers) return false;
    if (request.allow && (!(allow = read_ids(*request.allow, true)) || allow->size() > limits.ids)) return false;
  }
  const size_t answers = shards > 1 ? count * depth * shards : 0;
  if (!stream.lease.take(*front_.budget_, kAnswerBytes * answers + (kCopies + shards) * stream.in.size())) return false;
  if (stream.arrival >= route->renew && route->renew_once()) front_.stale(request.collection);
  const auto of = std::make_shared<Scatter>();
  of->client = &stream;
  of->collection = request.collection;
  of->model = request.model;
  of->common = common_fields(std::string_view(stream.in).substr(kFrameHead), shards > 1);
  // What has ids is unlike any other one.
  of->kind = request.allow || request.by_ids ? std::to_string(turns_)
                                             : kind_fields(std::string_view(stream.in).substr(kFrameHead));
  if (allow) of->allow = divide(*allow, shards);
  of->asked = {count, request.asked.k, request.offset, route->ascending};
  of->partial = request.partial;
  of->most = std::min(limits.reply_bytes, kOwnReplies);
  of->turn = turns_++;
  of->left = shards;
  of->parts.resize(shards);
  of->replies.resize(shards);
  of->beside = !route->replicated();
  of->due = stream.arrival + (of->beside && !of->partial ? route->patience : front_.routes_.delay.load());
  of->route = std::move(route);
  stream.request_id = front_.request_id(stream.headers);
  stream.scatter = of;
  due_.emplace(of->due, stream.connection->id(), stream.id);
  if (stream.deadline > 0) deadlines_.emplace(stream.deadline, stream.connection->id(), stream.id);
  for (size_t number = 0; number < shards; ++number) ask(of, number);
  return true;
}

// Whether there is another leaf of a shard: it is asked when its queue is sent.
bool Loop::ask(const std::shared_ptr<Scatter>& of, size_t number) {
  const Shard& shard = of->route->shards[number];
  Part& part = of->parts[number];
  if (part.tried == shard.leaves.size()) return false;
  const std::shared_ptr<const Leaf>& leaf = of->leaf(number, part.tried++);
  queue_key_.assign(leaf->key).append(1, '\0').append(shard.collection).append(1, '\0').append(of->kind);
  const auto at = queues_.try_emplace(queue_key_).first;
  LeafQueue& queue = at->second;
  queue.key = &at->first;
  queue.waiting.push_back({of, number, leaf, now_ns()});
  if (queue.sent == 0) make_due(queue);
  return true;
}

void Loop::make_due(LeafQueue& queue) {
  if (std::exchange(queue.due, true)) return;
  due_queues_.push_back(&queue);
}

// A call of it has ended, and perhaps it has, too.
void Loop::landed(LeafQueue& queue) {
  if (--queue.sent > 0) return;
  if (!queue.waiting.empty())
    make_due(queue);
  else if (!queue.due)
    queues_.erase(queues_.find(*queue.key));
}

void Loop::send_due() {
  while (!due_queues_.empty()) {
    LeafQueue& queue = *due_queues_.back();
    due_queues_.pop_back();
    queue.due = false;
    ++queue.sent;  // as long as some are still to be sent, none of them is the last one
    try {
      for (const LeafQueue::Waiting& one : std::exchange(queue.waiting, {})) {
        if (one.of->ended || one.of->parts[one.part].answered || send(one, queue)) continue;
        if (!ask(one.of, one.part) && one.of->parts[one.part].asked.empty()) give_up(*one.of);
      }
    } catch (const std::exception&) {  // of memory: no later call is to wait for one that was not sent
      landed(queue);
      throw;
    }
    landed(queue);
  }
}

// False where the leaf takes no calls.
bool Loop::send(const LeafQueue::Waiting& one, LeafQueue& queue) {
  const Scatter& of = *one.of;
  const Stream& client = *of.client;
  const Shard& shard = of.route->shards[one.part];
  Connection* const to = to_leaf(*one.leaf);
  if (to == nullptr) return false;
  std::string timeout;
  if (client.deadline > 0) timeout = timeout_text(client.deadline - std::min(client.deadline, now_ns()));
  std::vector<nghttp2_nv> sent = {lasting(":method", "POST"),
                                  lasting(":scheme", "http"),
                                  lasting(":path", kSearchPath),
                                  entry(":authority", one.leaf->name),
                                  lasting("te", "trailers"),
                                  lasting("content-type", "application/grpc"),
                                  entry(kRequestId, client.request_id, kAnother)};
  if (!one.leaf->authorization.empty()) sent.push_back(entry("authorization", one.leaf->authorization));
  if (!timeout.empty()) sent.push_back(entry("grpc-timeout", timeout, kAnother));
  for (const std::string_view name : {"traceparent", "tracestate"})
    if (const std::string_view value = value_of(client.headers, name); !value.empty())
      sent.push_back(entry(name, value, kAnother));
  PartFields fields{shard.collection, {}, 0, std::nullopt};
  if (of.parts.size() > 1) {
    fields.model = of.route->model_at(shard, of.model);
    fields.depth = of.asked.k + of.asked.offset;
    if (!of.allow.empty()) fields.allow = of.allow[one.part];
  }
  Stream* const asked = to->ask(sent, part_message(of.common, fields));
  if (asked == nullptr) return false;
  asked->arrival = one.since;
  asked->scatter = one.of;
  asked->part = one.part;
  asked->leaf = one.leaf;
  asked->queue = &queue;
  ++queue.sent;
  one.of->parts[one.part].asked.push_back(asked);
  return true;
}

void Loop::leaf_came(Stream& leaf, size_t bytes) {
  const std::shared_ptr<Scatter> of = leaf.scatter;
  of->bytes += bytes;
  if (of->bytes > of->most || !of->client->lease.grow(2 * bytes)) give_up(*of);
}

void Loop::leaf_ended(Stream& leaf, bool whole) {
  if (LeafQueue* const queue = std::exchange(leaf.queue, nullptr)) landed(*queue);
  const std::shared_ptr<Scatter> of = std::exchange(leaf.scatter, nullptr);
  if (!of) return;  // nobody waits for it
  Part& part = of->parts[leaf.part];
  std::erase(part.asked, &leaf);
  const bool good = whole && answered(leaf);
  note(leaf, good);
  if (!good) return give_up(*of);
  for (Stream* const slower : std::exchange(part.asked, {})) {
    note(*slower, true);
    withdraw(*slower);
  }
  part.answered = true;
  of->replies[leaf.part] = std::move(leaf.in);
  if (--of->left == 0) gather(*of);
}

// All shards have answered.
void Loop::gather(Scatter& of) {
  Stream& client = *of.client;
  of.asked.elapsed_us = (now_ns() - client.arrival) / 1000;
  std::string reply;
  if (of.parts.size() == 1) {
    reply = std::move(of.replies.front());
    mark_whole(reply);
  } else if (!merge_parts(of.asked, of.replies, reply)) {
    return give_up(of);
  }
  take_back(client);
  ++front_.counts_.answered;
  front_.ended(of.collection, 0, client, number_);
  client.connection->reply(client, std::move(reply));
}

void Loop::give_up(Scatter& of) {
  Stream& client = *of.client;
  // Its time may be over where a leaf has said so first: `expire`, which comes next, ends it.
  if (client.deadline > 0 && now_ns() >= client.deadline) return;
  take_back(client);
  client.lease = {};
  ++front_.counts_.given_up;
  client.connection->forward(client);
}

// Ends what a client's search of shards has under way; null where there is none. The caller keeps what it returns.
std::shared_ptr<Scatter> Loop::take_back(Stream& client) {
  const std::shared_ptr<Scatter> of = std::exchange(client.scatter, nullptr);
  if (!of) return of;
  of->ended = true;
  due_.erase({of->due, client.connection->id(), client.id});
  if (client.deadline > 0) deadlines_.erase({client.deadline, client.connection->id(), client.id});
  for (Part& part : of->parts)
    for (Stream* const leaf : std::exchange(part.asked, {})) withdraw(*leaf);
  return of;
}

void Loop::withdraw(Stream& leaf) {
  if (LeafQueue* const queue = std::exchange(leaf.queue, nullptr)) landed(*queue);
  leaf.scatter.reset();
  leaf.connection->cancel(leaf);
}

void Loop::note(const Stream& leaf, bool answered) { asked_.push_back({leaf.leaf, now_ns() - leaf.arrival, answered}); }

// Where a leaf takes long, another one is asked once, if there is one: after a while, where that may not have what was
// written by way of this root. At last the call has failed.
void Loop::ask_beside(uint64_t now) {
  while (!due_.empty() && std::get<0>(*due_.begin()) <= now) {
    const auto [when, id, number] = *due_.begin();
    due_.erase(due_.begin());
    Connection* const found = connection(id);
    Stream* const client = found == nullptr ? nullptr : found->stream(number);
    if (client == nullptr || !client->scatter) continue;
    const std::shared_ptr<Scatter> of = client->scatter;
    if (of->partial) {
      give_up(*of);
    } else if (!of->beside) {
      const uint64_t followed = client->arrival + std::min(kFollowed, of->route->patience);
      of->beside = true;
      for (size_t i = 0; i < of->parts.size(); ++i) {
        Part& part = of->parts[i];
        if (part.answered || part.beside) continue;
        const Shard& shard = of->route->shards[i];
        if (now < followed && part.tried >= shard.alike && part.tried < shard.leaves.size()) {
          of->beside = false;
          continue;
        }
        part.beside = true;
        if (ask(of, i)) ++front_.counts_.second_tries;
      }
      of->due = of->beside ? client->arrival + of->route->patience : followed;
      due_.emplace(of->due, id, number);
    } else {
      const std::string text = silence(*of);
      take_back(*client);
      front_.ended(of->collection, 14, *client, number_);
      found->fail(*client, "14", text);
    }
  }
}

}  // namespace bebr
