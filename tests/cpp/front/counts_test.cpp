// What is counted of calls: by collection and code, in as many places as there are loops, and read as one.
#include "server/counts.h"

#include <numeric>
#include <thread>

#include "../check.h"
#include "keyed.h"
#include "served.h"

namespace bebr::test {
namespace {

const CallFigures* of(const std::vector<CallFigures>& all, const std::string& name) {
  for (const CallFigures& one : all)
    if (one.collection == name) return &one;
  return nullptr;
}

uint64_t values(const Figures& of) { return std::accumulate(of.counts.begin(), of.counts.end(), uint64_t{0}); }

BEBR_TEST(a_value_is_counted_up_to_its_bound) {
  const std::vector<double> bounds = {1, 10};
  Histogram histogram(bounds);
  for (const double value : {.5, 1.0, 1.5, 10.0, 11.0, 12.0}) histogram.add(value);
  Figures figures;
  histogram.add_to(figures);
  histogram.add_to(figures);
  CHECK((figures.counts == std::vector<uint64_t>{4, 4, 4}) && figures.sum == 72, figures.sum);
}

BEBR_TEST(loops_count_by_themselves_and_are_read_as_one) {
  const Bounds bounds{{1e-3}, {1, 2}};
  CollectionCounts counts(bounds, 2);
  CallFigures none;
  CHECK(!counts.add_to(none), "no call yet");
  std::vector<std::thread> loops;
  for (size_t loop = 0; loop < 2; ++loop)
    loops.emplace_back([&, loop] {
      for (int i = 0; i < 1000; ++i) {
        counts.add(loop, {0, 500'000, 1000, 2000, 2});
        counts.add(loop, {4, 2'000'000});
        CallFigures seen;  // while the other counts
        counts.add_to(seen);
      }
    });
  for (std::thread& loop : loops) loop.join();
  CallFigures figures;
  CHECK(counts.add_to(figures) && figures.codes[0] == 2000 && figures.codes[4] == 2000, figures.codes[4]);
  CHECK((figures.seconds.counts == std::vector<uint64_t>{2000, 2000}), "by their time");
  CHECK(values(figures.queued) == 2000 && values(figures.searched) == 2000, "of those that were searched for");
  CHECK((figures.batch.counts == std::vector<uint64_t>{0, 2000, 0}) && figures.batch.sum == 4000, figures.batch.sum);
}

BEBR_TEST(calls_are_counted_by_collection_and_code) {
  FrontOptions options;
  options.bounds = {{1e-3, 1}, {1}};
  Served served(options);
  HonestClient client(served.port);
  const auto search = [&](const char* name) { return client.call(kSearch, search_message(name, 40, 10)); };
  search("small");
  CHECK(served.front.shelf().figures().empty(), "nobody asked yet");
  served.front.count();
  served.front.set_aliases({{"now", "small"}});
  for (const char* name : {"small", "now", "large", "nothing"}) search(name);
  client.call(kSearch, search_message("slow", 7, 3), {{"grpc-timeout", "50m"}});
  KeyFile keys;
  served.front.set_open(false);
  served.front.set_keys(keys.table());
  const std::map<std::string, std::string> key = {{"authorization", "Bearer some"}};
  for (const char* name : {"large", "nothing"}) client.call(kSearch, search_message(name, 40, 10), key);
  std::vector<CallFigures> all = served.front.shelf().figures();
  CHECK(of(all, "small")->codes[0] == 2 && values(of(all, "small")->batch) == 2, "an alias counts as its collection");
  CHECK(of(all, "large")->codes[0] == 1 && of(all, "large")->codes[7] == 1, "refused");
  CHECK(of(all, "slow")->codes[4] == 1 && values(of(all, "slow")->searched) == 0, "late");
  CHECK(of(all, "")->codes[7] == 1 && of(all, "nothing") == nullptr, "a name of nothing");
  CHECK(all.size() == 4, "and what is forwarded is not counted here");
  served.front.shelf().forget("small");
  CHECK(of(served.front.shelf().figures(), "small") == nullptr, "dropped");
  served.front.set_open(true);
  search("small");  // that was under way then
  all = served.front.shelf().figures();
  CHECK(of(all, "")->codes[0] == 1 && values(of(all, "")->batch) == 0, "counted as of none");
  served.front.publish("small", "m1", std::make_shared<FakeCollection>(100));
  search("small");
  all = served.front.shelf().figures();
  CHECK(of(all, "small")->codes[0] == 1, "made anew");
}

}  // namespace
}  // namespace bebr::test
