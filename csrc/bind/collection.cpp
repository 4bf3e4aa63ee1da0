// Searches of a collection for Python: the model of its queries, its parts, and snapshots of these (bind/module.cpp).
#include <bit>

#include "base/byte_budget.h"
#include "bind/asked.h"
#include "bind/held.h"
#include "bind/raw.h"
#include "collection/snapshot.h"

namespace bebr {

void bind_texts(py::module_& m);
void bind_groups(py::module_& m);

namespace {

Metric metric_of(const std::string& name) {
  if (name == "cosine") return Metric::Cosine;
  if (name == "ip") return Metric::InnerProduct;
  if (name == "l2") return Metric::SquaredDistance;
  fail(ErrorCode::InvalidArgument, "metric is '" + name + "': want cosine, ip or l2");
}

std::shared_ptr<QueryModel> make_model(const std::string& metric, std::shared_ptr<const Encoder> encoder,
                                       std::shared_ptr<const Decoder> decoder, std::shared_ptr<const Decoder> stage,
                                       std::shared_ptr<const Network> adapter, float skip, double scale,
                                       double offset) {
  return std::make_shared<QueryModel>(QueryModel::Parts{metric_of(metric), std::move(encoder), std::move(decoder),
                                                        std::move(stage), std::move(adapter), skip, scale, offset});
}

py::array_t<float> vectors(const QueryModel& model, const Array<float>& x, bool coded) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(model.query_dim())});
  if (!coded && !model.has_decoder())
    fail(ErrorCode::InvalidArgument, "coded is False, and this model has no decoder: want True");
  py::array_t<float> out({x.shape(0), static_cast<py::ssize_t>(model.inner_dim())});
  float* to = out.mutable_data();
  const NoGilFor release(x.shape(0));
  model.vectors(x.data(), static_cast<size_t>(x.shape(0)), coded, to);
  return out;
}

py::tuple project(const QueryModel& model, const Array<float>& q) {
  expect_shape(q, "q", {-1, static_cast<py::ssize_t>(model.inner_dim())});
  const py::ssize_t n = q.shape(0);
  py::array_t<float> y({n, static_cast<py::ssize_t>(model.dims())}), base(n), offset(n);
  float *to_y = y.mutable_data(), *to_base = base.mutable_data(), *to_offset = offset.mutable_data();
  {
    const NoGilFor release(n);
    model.project(q.data(), static_cast<size_t>(n), to_y, to_base, to_offset);
  }
  return py::make_tuple(y, base, offset);
}

py::tuple project_stage(const QueryModel& model, const Array<float>& q) {
  expect_shape(q, "q", {-1, static_cast<py::ssize_t>(model.inner_dim())});
  if (!model.has_stage()) fail(ErrorCode::InvalidArgument, "this model's sign plane has no decoder of its own");
  const py::ssize_t n = q.shape(0);
  py::array_t<float> y({n, static_cast<py::ssize_t>(model.dims())}), base(n);
  float *to_y = y.mutable_data(), *to_base = base.mutable_data();
  {
    const NoGilFor release(n);
    model.project_stage(q.data(), static_cast<size_t>(n), to_y, to_base);
  }
  return py::make_tuple(y, base);
}

std::shared_ptr<CollectionPart> make_part(const Index& index, const std::optional<Array<uint64_t>>& hidden,
                                          const std::vector<Array<uint8_t>>& kept, ByK efforts,
                                          std::shared_ptr<const TailRows> tail, std::shared_ptr<TextColumn> payloads,
                                          std::shared_ptr<TextColumn> keys, const std::optional<Array<uint64_t>>& allow,
                                          std::shared_ptr<const RawVectors> apart) {
  if (!index.immutable()) fail(ErrorCode::InvalidArgument, "index may change: want a file's, or a frozen tail");
  auto part = std::make_shared<CollectionPart>();
  {
    const GilRelease release;
    part->reader = index.reading().segment;
  }
  part->tail = std::move(tail);
  part->payloads = std::move(payloads);
  part->keys = std::move(keys);
  part->efforts = std::move(efforts);
  if (hidden) {
    expect_shape(*hidden, "hidden", {-1});
    const auto words = static_cast<size_t>(hidden->size());
    part->hidden = {hidden->data(), 64 * words};
    for (size_t i = 0; i < words; ++i) part->hidden_rows += static_cast<size_t>(std::popcount(hidden->data()[i]));
    part->owners.push_back(held(*hidden));
  }
  if (allow) {
    expect_shape(*allow, "allow", {-1});
    part->allow = {allow->data(), 64 * static_cast<size_t>(allow->size())};
    part->owners.push_back(held(*allow));
  }
  if (apart) {
    if (!apart->mapped()) fail(ErrorCode::InvalidArgument, "apart may change: want the vectors of a mapped file");
    part->kept.blocks.push_back(apart->rows());
    part->kept.block_rows = std::max<size_t>(1, apart->size());
    part->kept.apart = std::move(apart);
  }
  for (const Array<uint8_t>& block : kept) {
    expect_shape(block, "kept", {-1, -1});
    part->kept.blocks.push_back(block.data());
    part->kept.block_rows = std::max(part->kept.block_rows, static_cast<size_t>(block.shape(0)));
    part->owners.push_back(held(block));
  }
  return part;
}

Candidates make_candidates(std::vector<std::pair<size_t, ByK>> rows) {
  std::vector<Candidates::Rows> made;
  for (auto& [count, needed] : rows) made.push_back({count, std::move(needed)});
  return Candidates(std::move(made));
}

std::shared_ptr<CollectionSnapshot> make_snapshot(std::shared_ptr<const QueryModel> model,
                                                  std::vector<std::shared_ptr<CollectionPart>> parts, size_t rows,
                                                  size_t first_stage_rows, float margin,
                                                  const std::optional<std::string>& kept,
                                                  const Candidates& candidates) {
  CollectionSnapshot::Settings settings{rows, first_stage_rows, margin, {}, candidates};
  if (kept) settings.kept = RawFormat{static_cast<uint32_t>(model->inner_dim()), raw_type_of(*kept)};
  return std::make_shared<CollectionSnapshot>(
      std::move(model), std::vector<std::shared_ptr<const CollectionPart>>(parts.begin(), parts.end()), settings);
}

std::shared_ptr<FilteredSnapshot> make_filtered(std::shared_ptr<const CollectionSnapshot> whole,
                                                const std::vector<std::shared_ptr<CollectionPart>>& parts,
                                                size_t candidates, const std::vector<Array<uint64_t>>& allow) {
  std::vector<BitmapView> bits;
  std::vector<std::shared_ptr<const void>> owners;
  for (const Array<uint64_t>& bitmap : allow) {
    expect_shape(bitmap, "allow", {-1});
    bits.push_back({bitmap.data(), 64 * static_cast<size_t>(bitmap.size())});
    owners.push_back(held(bitmap));
  }
  return std::make_shared<FilteredSnapshot>(
      std::move(whole), std::vector<std::shared_ptr<const CollectionPart>>(parts.begin(), parts.end()), candidates,
      bits, std::move(owners));
}

// run(asked, scores, ids) without the GIL; what it finds for n queries.
template <typename Run>
py::tuple found_by(py::ssize_t n, const PyAsked& asked, const Run& run) {
  const auto k = static_cast<py::ssize_t>(asked.k);
  py::array_t<float> scores({n, k});
  py::array_t<int64_t> ids({n, k});
  float* const to_scores = scores.mutable_data();
  int64_t* const to_ids = ids.mutable_data();
  const CollectionSearch view = asked.view();
  {
    const GilRelease release;
    run(view, to_scores, to_ids);
  }
  return py::make_tuple(scores, ids);
}

py::tuple search_snapshot(const CodeSearcher& snapshot, const Array<float>& queries, const PyAsked& asked) {
  expect_shape(queries, "queries", {-1, static_cast<py::ssize_t>(snapshot.query_dim())});
  if (!asked.coded && !snapshot.has_decoder())
    fail(ErrorCode::InvalidArgument, "coded is False, and this model has no decoder: want True");
  return found_by(queries.shape(0), asked, [&](const CollectionSearch& view, float* scores, int64_t* ids) {
    snapshot.search(queries.data(), static_cast<size_t>(queries.shape(0)), view, scores, ids);
  });
}

py::tuple search_rows(const CodeSearcher& snapshot, const Array<int64_t>& of, const PyAsked& asked) {
  expect_shape(of, "of", {-1});
  return found_by(of.shape(0), asked, [&](const CollectionSearch& view, float* scores, int64_t* ids) {
    snapshot.search_rows(of.data(), static_cast<size_t>(of.shape(0)), view, scores, ids);
  });
}

}  // namespace

void bind_collection(py::module_& m) {
  bind_texts(m);
  py::class_<QueryModel, std::shared_ptr<QueryModel>>(m, "QueryModel")
      .def(py::init(&make_model), py::arg("metric"), py::arg("encoder"), py::arg("decoder"), py::arg("stage"),
           py::arg("adapter"), py::arg("skip"), py::arg("scale"), py::arg("offset"))
      .def("vectors", &vectors, py::arg("x"), py::arg("coded"))
      .def("project", &project, py::arg("q"))
      .def("project_stage", &project_stage, py::arg("q"));
  py::class_<CollectionPart, std::shared_ptr<CollectionPart>>(m, "CollectionPart")
      .def(py::init(&make_part), py::arg("index"), py::arg("hidden"), py::arg("kept"), py::arg("efforts"),
           py::arg("tail") = py::none(), py::arg("payloads") = py::none(), py::arg("keys") = py::none(),
           py::arg("allow") = py::none(), py::arg("apart") = py::none());
  // Shared with the front, which answers searches beside Python.
  py::class_<ByteBudget, std::shared_ptr<ByteBudget>>(m, "ByteBudget")
      .def(py::init<size_t>(), py::arg("total"))
      .def_property_readonly("total", &ByteBudget::total)
      .def_property_readonly("held", &ByteBudget::held)
      .def("take", &ByteBudget::take, py::arg("size"), py::arg("most"))
      .def("give_back", &ByteBudget::give_back, py::arg("size"));
  // By its base it is handed to the front, another extension.
  py::class_<Searcher, std::shared_ptr<Searcher>>(m, "Searcher");
  py::class_<PyAsked>(m, "CollectionSearch")
      .def(py::init<size_t, bool, std::optional<size_t>, bool, std::optional<double>, std::optional<size_t>,
                    std::optional<size_t>, std::optional<size_t>, std::shared_ptr<StopFlag>, PyIds>(),
           py::arg("k"), py::kw_only(), py::arg("coded") = false, py::arg("oversampling") = py::none(),
           py::arg("exact") = false, py::arg("radius") = py::none(), py::arg("rescore") = py::none(),
           py::arg("nprobe") = py::none(), py::arg("ef_search") = py::none(), py::arg("stop") = py::none(),
           py::arg("allow") = py::none());
  py::class_<CodeSearcher, Searcher, std::shared_ptr<CodeSearcher>>(m, "CodeSearcher")
      .def("search", &search_snapshot, py::arg("queries"), py::arg("asked"))
      .def("search_rows", &search_rows, py::arg("of"), py::arg("asked"));
  py::class_<Candidates>(m, "Candidates")
      .def(py::init(&make_candidates), py::arg("rows"))
      .def("at", &Candidates::at, py::arg("k"));
  py::class_<CollectionSnapshot, CodeSearcher, std::shared_ptr<CollectionSnapshot>>(m, "CollectionSnapshot")
      .def(py::init(&make_snapshot), py::arg("model"), py::arg("parts"), py::arg("rows"), py::arg("first_stage_rows"),
           py::arg("margin"), py::arg("kept"), py::arg("candidates"));
  py::class_<FilteredSnapshot, CodeSearcher, std::shared_ptr<FilteredSnapshot>>(m, "FilteredSnapshot")
      .def(py::init(&make_filtered), py::arg("whole"), py::arg("parts"), py::arg("candidates"), py::arg("allow"));
  bind_groups(m);
  m.attr("exact_rows") = kExactRows;
  m.def("scores_all", &scores_all, py::arg("rows"), py::arg("row_bytes"));
  m.def("default_candidates", &default_candidates, py::arg("k"));
}

}  // namespace bebr
