// bebr._front: the front for Python. An extension of its own, for it needs nghttp2; what it publishes are objects of
// bebr._core, of which it knows no more than collection/searcher.h.
#include "server/front.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "base/error.h"
#include "bind/gil.h"
#include "bind/hits.h"
#include "client/caller.h"
#include "client/lookout.h"
#include "server/parts.h"
#include "server/scatter.h"
#include "server/wire.h"

namespace py = pybind11;
using namespace bebr;

namespace {

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const Error& error) {
    PyErr_SetString(error.code() == ErrorCode::InvalidArgument ? PyExc_ValueError : PyExc_OSError, error.what());
  }
}

std::unique_ptr<Front> make(const std::string& host, uint16_t port, const std::string& upstream,
                            std::shared_ptr<ByteBudget> budget, size_t loops, size_t threads, size_t most_batch,
                            size_t queries, size_t k, size_t answers, size_t ids, size_t calls, size_t reply_bytes,
                            const std::string& certificate, const std::string& key, const std::string& client_ca,
                            const std::vector<double>& seconds, const std::vector<double>& batches, bool shared) {
  FrontOptions options;
  options.shared = shared;
  options.host = host;
  options.port = port;
  options.upstream = upstream;
  options.tls = {certificate, key, client_ca};
  options.loops = loops;
  options.threads = threads;
  options.most_batch = most_batch;
  options.queries = queries;
  options.k = k;
  options.answers = answers;
  options.ids = ids;
  options.calls = calls;
  options.reply_bytes = reply_bytes;
  options.bounds = {seconds, batches};
  return std::make_unique<Front>(options, std::move(budget));
}

py::dict counts(const Front& front) {
  const FrontCounts& now = front.counts();
  py::dict made;
  made["answered"] = now.answered.load();
  made["forwarded"] = now.forwarded.load();
  made["denied"] = now.denied.load();
  made["cancelled"] = now.cancelled.load();
  made["late"] = now.late.load();
  made["connections"] = now.connections.load();
  made["refused"] = now.refused.load();
  made["given_up"] = now.given_up.load();
  made["second_tries"] = now.second_tries.load();
  made["listed"] = now.listed.load();
  return made;
}

py::tuple batching(Front& front, const std::string& collection) {
  const std::shared_ptr<CollectionCounts> counts = front.shelf().counts(collection);
  const BatchingCounts& now = counts->batching;
  return py::make_tuple(now.requests.load(), now.queries.load(), now.batches.load(), now.largest.load());
}

// Rows scanned and survivors, as of SearchWork.
py::tuple work(Front& front, const std::string& collection) {
  const std::shared_ptr<CollectionCounts> counts = front.shelf().counts(collection);
  return py::make_tuple(counts->batching.work.scanned.load(), counts->batching.work.survivors.load());
}

// request, reply: messages, without the frame.
void keep_listing(Front& front, uint64_t state, const std::string& request, std::string reply) {
  reply.insert(0, kFrameHead, '\0');
  put_length(reply);
  front.shelf().keep_listing(state, request, std::move(reply));
}

// keys: a digest, the names of collections or None for all, and what is said of others, each.
void set_keys(Front& front, const std::string& path, std::tuple<uint64_t, int64_t, int64_t> stamp,
              const std::vector<std::tuple<py::bytes, std::optional<std::vector<std::string>>, std::string>>& keys,
              const std::string& missing, const std::string& wrong) {
  std::vector<ApiKey> made;
  for (const auto& [digest, collections, ungranted] : keys) {
    ApiKey& key = made.emplace_back(ApiKey{{}, collections, ungranted});
    if (key.collections) std::sort(key.collections->begin(), key.collections->end());
    const std::string_view bytes = digest;
    if (bytes.size() != key.digest.size()) fail(ErrorCode::InvalidArgument, "a digest of a key is not of 32 bytes");
    std::copy(bytes.begin(), bytes.end(), key.digest.begin());
  }
  const auto [inode, modified, size] = stamp;
  front.set_keys(
      std::make_shared<const KeyTable>(path, FileStamp{inode, modified, size}, std::move(made), missing, wrong));
}

using LeafTuple = std::tuple<std::string, std::string, uint16_t, std::string>;
using ShardTuple = std::tuple<std::string, std::string, std::vector<LeafTuple>, size_t>;

// As bebr.serve.routing.Route has it.
void set_route(Front& front, const std::string& collection,
               const std::tuple<std::vector<ShardTuple>, std::vector<std::string>, bool, uint64_t>& route,
               uint64_t renew, uint64_t until) {
  const auto made = std::make_shared<Route>();
  const auto& [shards, models, ascending, patience] = route;
  for (const auto& [name, model, leaves, alike] : shards) {
    Shard& shard = made->shards.emplace_back(Shard{name, model, {}, alike});
    for (const auto& [leaf, host, port, authorization] : leaves) {
      std::optional<Leaf> found = Leaf::of(leaf, host, port, authorization);
      if (!found) fail(ErrorCode::InvalidArgument, "leaf " + leaf + " is at " + host + ": want an address in figures");
      shard.leaves.push_back(std::make_shared<const Leaf>(std::move(*found)));
    }
    if (alike < 1 || alike > leaves.size()) fail(ErrorCode::InvalidArgument, "alike: want 1 to as many as the leaves");
  }
  if (shards.empty()) fail(ErrorCode::InvalidArgument, "shards is empty: want one at least");
  made->models = models;
  std::sort(made->models.begin(), made->models.end());
  made->ascending = ascending;
  made->patience = patience;
  made->renew = renew;
  made->until = until;
  front.routes().set(collection, made);
}

// Of calls of leaves that have ended: the name, ns, and whether it answered.
py::list take_asked(Front& front) {
  py::list made;
  for (const LeafCall& one : front.take_asked()) made.append(py::make_tuple(one.leaf->name, one.took, one.answered));
  return made;
}

// What `count` has counted, each as bebr.serve.told.Counted has it.
py::list counted(Front& front) {
  const auto histogram = [](const Figures& of) { return py::make_tuple(of.counts, of.sum); };
  py::list made;
  for (const CallFigures& one : front.shelf().figures())
    made.append(py::make_tuple(one.collection, one.codes, histogram(one.seconds), histogram(one.queued),
                               histogram(one.searched), histogram(one.batch)));
  return made;
}

// What `record` keeps, each as bebr.serve.told.Finished has it.
py::list take_finished(Front& front) {
  py::list made;
  for (const Finished& one : front.take_finished()) {
    const CollectionSearch& asked = one.asked;
    made.append(py::make_tuple(one.request_id, one.peer, one.collection, one.code, one.elapsed, one.queued,
                               one.searched, one.traced, one.ended, one.queries, one.batch, one.scanned, one.survivors,
                               py::make_tuple(asked.k, asked.coded, asked.oversampling, asked.exact, asked.radius,
                                              asked.rescore, asked.nprobe, asked.ef_search),
                               one.filter, one.traceparent, one.tracestate));
  }
  return made;
}

// Its fields, and its queries as bytes of floats.
py::object read_message(const std::string& message) {
  const std::optional<SearchRequest> found = read_search(message);
  if (!found || (!found->by_ids && !good_queries(*found))) return py::none();
  std::vector<float> queries(found->by_ids ? 0 : found->count * found->dimension);
  if (!found->by_ids) load_queries(found->values, found->half, queries.data());
  py::dict made;
  made["collection"] = py::bytes(found->collection.data(), found->collection.size());
  made["model"] = py::bytes(found->model.data(), found->model.size());
  made["queries"] = py::bytes(reinterpret_cast<const char*>(queries.data()), queries.size() * sizeof(float));
  made["dimension"] = found->dimension;
  made["count"] = found->count;
  made["k"] = found->asked.k;
  made["group_by"] =
      found->group_by ? py::object(py::bytes(found->group_by->data(), found->group_by->size())) : py::none();
  made["group_size"] = found->group_size;
  made["offset"] = found->offset;
  made["payloads"] = found->payloads;
  made["filter"] = found->filter ? py::object(py::bytes(found->filter->data(), found->filter->size())) : py::none();
  made["allow"] = found->allow ? py::object(py::bytes(found->allow->data(), found->allow->size())) : py::none();
  made["by_ids"] = found->by_ids ? py::object(py::bytes(found->by_ids->data(), found->by_ids->size())) : py::none();
  made["coded"] = found->asked.coded;
  made["exact"] = found->asked.exact;
  made["oversampling"] = found->asked.oversampling;
  made["radius"] = found->asked.radius;
  made["rescore"] = found->asked.rescore;
  made["nprobe"] = found->asked.nprobe;
  made["ef_search"] = found->asked.ef_search;
  return made;
}

// What a shard is asked for, without the frame.
py::object read_part(const std::string& message, const std::string& collection, const std::string& model, size_t number,
                     size_t shards) {
  const std::optional<SearchRequest> found = read_search(message);
  if (!found) return py::none();
  std::vector<std::string> allow;
  PartFields fields{collection, {}, 0, std::nullopt};
  if (shards > 1) {
    fields.model = model;
    fields.depth = found->asked.k + found->offset;
    if (found->allow) {
      const std::optional<std::vector<int64_t>> ids = read_ids(*found->allow, true);
      if (!ids) return py::none();
      allow = divide(*ids, shards);
      fields.allow = allow[number];
    }
  }
  const std::string part = part_message(common_fields(message, shards > 1), fields);
  return py::bytes(part.data() + kFrameHead, part.size() - kFrameHead);
}

py::object merge(std::vector<std::string> replies, size_t queries, size_t k, size_t offset, bool ascending) {
  for (std::string& reply : replies) {
    reply.insert(0, kFrameHead, '\0');
    put_length(reply);
  }
  std::string out;
  if (!merge_parts({queries, k, offset, ascending, 0}, replies, out)) return py::none();
  return py::bytes(out.data() + kFrameHead, out.size() - kFrameHead);
}

// The bytes of an array's numbers.
std::string_view numbers_of(const py::array& array) {
  if ((array.flags() & py::array::c_style) == 0)
    fail(ErrorCode::InvalidArgument, "queries are not in C order: want rows one after another");
  return {static_cast<const char*>(array.data()), static_cast<size_t>(array.nbytes())};
}

// A search, sent and read. Returns what failed, scores and ids, both [n, width], and the reply. What failed: how it
// ended in a word, the status and its message, or None. The reply: where it is wanted whole or has more than hits; it
// comes without scores where it is none. An exception of a signal's handler ends it.
py::tuple search(Caller& caller, std::string_view path, std::string_view head, const std::optional<py::array>& queries,
                 std::optional<double> seconds, py::ssize_t width, bool ascending, bool whole) {
  constexpr const char* kOutcomes[] = {"answered", "late", "broken", "busy", "stopped", "closed"};
  const std::string_view numbers = queries ? numbers_of(*queries) : std::string_view();
  std::string message;
  message.reserve(head.size() + numbers.size());
  message.append(head).append(numbers);
  Reply reply;
  {
    const GilRelease released;
    reply = caller.call(path, message, seconds, [] {
      const py::gil_scoped_acquire held;
      return PyErr_CheckSignals() == 0;
    });
  }
  if (reply.outcome == Reply::Outcome::Stopped) throw py::error_already_set();
  const py::none none;
  if (reply.outcome != Reply::Outcome::Answered || reply.status != 0) {
    const char* const outcome = kOutcomes[static_cast<size_t>(reply.outcome)];
    return py::make_tuple(py::make_tuple(outcome, reply.status, py::bytes(reply.message)), none, none, none);
  }
  const auto found = hit_arrays(reply.body, width, ascending);
  if (!found) return py::make_tuple(none, none, none, py::bytes(reply.body));
  if (!whole && !found->more) return py::make_tuple(none, found->scores, found->ids, none);
  return py::make_tuple(none, found->scores, found->ids, py::bytes(reply.body));
}

// Of each: which, when it was asked in ns, its answer or None, and whether that was too late.
py::list news_of(Lookout& lookout) {
  std::vector<Lookout::News> news;
  {
    const GilRelease released;
    news = lookout.news();
  }
  py::list made;
  for (const Lookout::News& one : news)
    made.append(py::make_tuple(one.which, one.asked,
                               one.answer ? py::object(py::bytes(*one.answer)) : py::object(py::none()), one.late));
  return made;
}

}  // namespace

PYBIND11_MODULE(_front, m) {
  m.doc() = "The HTTP/2 front of a bebr server, and a client. Used by bebr.serve.";
  py::module_::import("bebr._core");  // which has the types of budget and searchers
  py::register_local_exception_translator(&translate);
  const py::call_guard<GilRelease> no_gil;
  py::class_<Front>(m, "Front", py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&make), py::kw_only(), py::arg("host"), py::arg("port"), py::arg("upstream"), py::arg("budget"),
           py::arg("loops"), py::arg("threads"), py::arg("most_batch"), py::arg("queries"), py::arg("k"),
           py::arg("answers"), py::arg("ids"), py::arg("calls"), py::arg("reply_bytes"), py::arg("certificate"),
           py::arg("key"), py::arg("client_ca"), py::arg("seconds"), py::arg("batches"), py::arg("shared"))
      .def("start", &Front::start, no_gil)
      .def("drain", &Front::drain, py::arg("grace"), no_gil)
      .def("stop", &Front::stop, no_gil)
      .def(
          "publish",
          [](Front& front, const std::string& collection, const std::string& model,
             std::shared_ptr<Searcher> searcher) { front.publish(collection, model, std::move(searcher)); },
          py::arg("collection"), py::arg("model"), py::arg("searcher").none(true))
      .def(
          "publish_filter",
          [](Front& front, const std::string& collection, const Searcher& of, const std::string& filter,
             std::shared_ptr<Searcher> rows) { return front.publish_filter(collection, of, filter, std::move(rows)); },
          py::arg("collection"), py::arg("of"), py::arg("filter"), py::arg("rows").none(true))
      .def("set_aliases", &Front::set_aliases, py::arg("aliases"))
      .def("set_route", &set_route, py::arg("collection"), py::arg("route"), py::arg("renew"), py::arg("until"))
      .def(
          "end_route", [](Front& front, const std::string& collection) { front.routes().set(collection, nullptr); },
          py::arg("collection"))
      .def(
          "set_delay", [](Front& front, uint64_t ns) { front.routes().delay = ns; }, py::arg("ns"))
      .def("take_asked", &take_asked)
      .def("take_stale", &Front::take_stale)
      .def("set_open", &Front::set_open, py::arg("open"))
      .def(
          "set_sampling",
          [](Front& front, double roots, bool recorded, bool unrecorded) {
            front.set_sampling({roots, recorded, unrecorded});
          },
          py::arg("roots"), py::arg("recorded"), py::arg("unrecorded"))
      .def("set_keys", &set_keys, py::arg("path"), py::arg("stamp"), py::arg("keys"), py::arg("missing"),
           py::arg("wrong"))
      .def("state", [](Front& front) { return front.shelf().state(); })
      .def("keep_listing", &keep_listing, py::arg("state"), py::arg("request"), py::arg("reply"))
      .def(
          "forget", [](Front& front, const std::string& name) { front.shelf().forget(name); }, py::arg("collection"))
      .def("count", &Front::count)
      .def("counted", &counted)
      .def("record", &Front::record, py::arg("most"))
      .def("take_finished", &take_finished)
      .def("take_denied", &Front::take_denied)
      .def_property_readonly("news", &Front::news)
      .def("counts", &counts)
      .def("batching", &batching, py::arg("collection"))
      .def("work", &work, py::arg("collection"));
  py::class_<Caller, std::shared_ptr<Caller>>(m, "Caller", py::release_gil_before_calling_cpp_dtor())
      .def(py::init<std::string, std::string, std::string, Caller::Headers, size_t>(), py::kw_only(), py::arg("host"),
           py::arg("port"), py::arg("authority"), py::arg("headers"), py::arg("most"))
      .def("search", &search, py::arg("path"), py::arg("head"), py::arg("queries").none(true),
           py::arg("seconds").none(true), py::arg("width"), py::arg("ascending"), py::arg("whole"))
      .def("close", &Caller::close, no_gil);
  py::class_<Lookout>(m, "Lookout", py::release_gil_before_calling_cpp_dtor())
      .def(py::init<std::vector<std::shared_ptr<Caller>>, std::string, std::string, double, double>(), py::kw_only(),
           py::arg("callers"), py::arg("path"), py::arg("message"), py::arg("every"), py::arg("patience"))
      .def("news", &news_of)
      .def("stop", &Lookout::stop)
      .def("forget", &Lookout::forget, py::arg("which"))
      .def("answered", &Lookout::answered, py::arg("which"));
  m.def("read_search", &read_message, py::arg("message"));
  m.def("part_message", &read_part, py::arg("message"), py::arg("collection"), py::arg("model"), py::arg("number"),
        py::arg("shards"));
  m.def("merge_parts", &merge, py::arg("replies"), py::arg("queries"), py::arg("k"), py::arg("offset"),
        py::arg("ascending"));
  m.attr("tls") = tls_built();
}
