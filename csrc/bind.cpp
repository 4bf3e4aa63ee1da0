// The only file that sees pybind11. Arrays come in checked (dtype and C order by the array types, shapes here); the GIL
// is released round everything that works; Error becomes the Python exception of its code (bebr/errors.py).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "binarizer/decoder.h"
#include "binarizer/encoder.h"
#include "binarizer/network.h"
#include "index/flat.h"
#include "index/graph.h"
#include "kernels/bench.h"

namespace py = pybind11;
using namespace bebr;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

std::string shape_text(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) text += (i > 0 ? ", " : "") + std::to_string(a.shape(i));
  return text + ")";
}

void expect_shape(const py::array& a, const char* name, std::vector<py::ssize_t> want) {
  bool same = a.ndim() == static_cast<py::ssize_t>(want.size());
  for (size_t i = 0; same && i < want.size(); ++i)
    same = want[i] < 0 || a.shape(static_cast<py::ssize_t>(i)) == want[i];
  if (same) return;
  std::string text = "(";
  for (size_t i = 0; i < want.size(); ++i)
    text += (i > 0 ? ", " : "") + (want[i] < 0 ? std::string("n") : std::to_string(want[i]));
  fail(Code::InvalidArgument, std::string(name) + " has shape " + shape_text(a) + ": want " + text + ")");
}

// A vector handed to Python without a copy.
template <typename T>
py::array to_numpy(std::vector<T> values, std::vector<py::ssize_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  py::capsule owner(kept, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(std::move(shape), kept->data(), owner);
}

CodeSpec spec_of(const std::vector<uint32_t>& widths) { return CodeSpec::make(widths); }
std::vector<uint32_t> widths_of(const CodeSpec& spec) { return {spec.widths, spec.widths + spec.planes}; }

// --- codes
// --------------------------------------------------------------------------------------------------------------

py::array_t<float> unpack(const Array<uint8_t>& planes, const std::vector<uint32_t>& widths) {
  const CodeSpec spec = spec_of(widths);
  expect_shape(planes, "planes", {-1, static_cast<py::ssize_t>(spec.row_bytes())});
  const py::ssize_t n = planes.shape(0);
  py::array_t<float> v({n, static_cast<py::ssize_t>(spec.dims())});
  const uint8_t* rows = planes.data();
  float* out = v.mutable_data();
  py::gil_scoped_release release;
  parallel_for(static_cast<size_t>(n), 256, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) unpack_row(spec, rows + i * spec.row_bytes(), out + i * spec.dims());
  });
  return v;
}

// ||v||^2 of every code: the norm in code space, which the paper divides by.
py::array_t<float> code_norms(const Array<uint8_t>& planes, const std::vector<uint32_t>& widths) {
  const CodeSpec spec = spec_of(widths);
  expect_shape(planes, "planes", {-1, static_cast<py::ssize_t>(spec.row_bytes())});
  const py::ssize_t n = planes.shape(0);
  py::array_t<float> norms(n);
  const uint8_t* rows = planes.data();
  float* out = norms.mutable_data();
  py::gil_scoped_release release;
  parallel_for(static_cast<size_t>(n), 256, [&](size_t begin, size_t end) {
    std::vector<float> v(spec.dims());
    for (size_t i = begin; i < end; ++i) {
      unpack_row(spec, rows + i * spec.row_bytes(), v.data());
      float sum = 0;
      for (const float value : v) sum += value * value;
      out[i] = sum;
    }
  });
  return norms;
}

void bind_codes(py::module_& m) {
  m.def("unpack", &unpack, py::arg("planes"), py::arg("widths"));
  m.def("code_norms", &code_norms, py::arg("planes"), py::arg("widths"));
}

// --- indexes
// ------------------------------------------------------------------------------------------------------------

Factor factor_of(const std::string& name) {
  if (name == "none") return Factor::None;
  if (name == "mul") return Factor::Mul;
  if (name == "sub") return Factor::Sub;
  fail(Code::InvalidArgument, "factor is '" + name + "': want none, mul or sub");
}

template <typename Index>
void add(Index& index, const Array<uint8_t>& planes, const Array<uint8_t>& factors, const Array<int64_t>& ids) {
  const auto n = static_cast<py::ssize_t>(ids.size());
  expect_shape(ids, "ids", {-1});
  expect_shape(planes, "planes", {n, static_cast<py::ssize_t>(index.format().spec.row_bytes())});
  expect_shape(factors, "factors", {n, static_cast<py::ssize_t>(index.format().factor_bytes())});
  py::gil_scoped_release release;
  index.add(static_cast<size_t>(n), planes.data(), factors.data(), ids.data());
}

template <typename Index>
size_t remove(Index& index, const Array<int64_t>& ids) {
  expect_shape(ids, "ids", {-1});
  py::gil_scoped_release release;
  return index.remove({ids.data(), static_cast<size_t>(ids.size())});
}

py::tuple search(const FlatIndex& index, const Array<float>& y, const Array<float>& base,
                 const std::optional<Array<float>>& stage_y, const std::optional<Array<float>>& stage_base, size_t k,
                 size_t survivors, const std::optional<Array<int64_t>>& allow) {
  const auto dims = static_cast<py::ssize_t>(index.format().spec.dims());
  expect_shape(y, "y", {-1, dims});
  const py::ssize_t n = y.shape(0);
  expect_shape(base, "base", {n});
  Queries queries{static_cast<size_t>(n), y.data(), base.data(), nullptr, nullptr};
  if (stage_y && stage_base) {
    expect_shape(*stage_y, "stage_y", {n, dims});
    expect_shape(*stage_base, "stage_base", {n});
    queries.stage_y = stage_y->data();
    queries.stage_base = stage_base->data();
  }
  SearchParams params{k, survivors, allow.has_value(), {}};
  if (allow) params.allow = {allow->data(), static_cast<size_t>(allow->size())};
  py::array_t<float> scores({n, static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> ids({n, static_cast<py::ssize_t>(k)});
  {
    py::gil_scoped_release release;
    index.search(queries, params, scores.mutable_data(), ids.mutable_data());
  }
  return py::make_tuple(scores, ids);
}

template <typename Index>
py::tuple rows(const Index& index) {
  Rows out;
  {
    py::gil_scoped_release release;
    out = index.rows();
  }
  const auto n = static_cast<py::ssize_t>(out.ids.size());
  const RowFormat& format = index.format();
  return py::make_tuple(to_numpy(std::move(out.planes), {n, static_cast<py::ssize_t>(format.spec.row_bytes())}),
                        to_numpy(std::move(out.factors), {n, static_cast<py::ssize_t>(format.factor_bytes())}),
                        to_numpy(std::move(out.ids), {n}));
}

template <typename Index>
void save(const Index& index, const std::string& path, const std::map<std::string, py::bytes>& extra) {
  std::vector<Section> sections;
  for (const auto& [name, bytes] : extra) {
    const std::string_view view = bytes;
    sections.push_back({name, {reinterpret_cast<const uint8_t*>(view.data()), view.size()}});
  }
  py::gil_scoped_release release;
  index.save(path, sections);
}

template <typename Index>
py::tuple open_index(const char* kind, const std::string& path, bool map, bool verify) {
  std::shared_ptr<const File> file;
  std::unique_ptr<Index> index;
  {
    py::gil_scoped_release release;
    file = File::open(path, kind, verify || !map);
    index = Index::open(file, map);
  }
  py::dict extra;  // the caller's own sections
  for (const std::string& name : file->names()) {
    if (Index::owns_section(name)) continue;
    const auto bytes = file->section(name);
    extra[py::str(name)] = py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return py::make_tuple(std::move(index), extra);
}

void bind_index(py::module_& m) {
  py::class_<FlatIndex>(m, "FlatIndex")
      .def(py::init([](const std::vector<uint32_t>& widths, const std::string& factor, bool stage_factor,
                       uint32_t factor_bytes, std::pair<uint32_t, uint32_t> code,
                       std::pair<uint32_t, uint32_t> stage_code) {
             return std::make_unique<FlatIndex>(
                 RowFormat{spec_of(widths), factor_of(factor), stage_factor,
                           FactorCode::make(factor_bytes, code.first, code.second),
                           FactorCode::make(factor_bytes, stage_code.first, stage_code.second)});
           }),
           py::arg("widths"), py::arg("factor"), py::arg("stage_factor"), py::arg("factor_bytes"), py::arg("code"),
           py::arg("stage_code"))
      .def("__len__", &FlatIndex::size)
      .def_property_readonly("mapped", &FlatIndex::mapped)
      .def_property_readonly("widths", [](const FlatIndex& i) { return widths_of(i.format().spec); })
      .def_property_readonly("factor_bytes", [](const FlatIndex& i) { return i.format().code.bytes; })
      .def_property_readonly("max_id", &FlatIndex::max_id)
      .def("add", &add<FlatIndex>, py::arg("planes"), py::arg("factors"), py::arg("ids"))
      .def("remove", &remove<FlatIndex>, py::arg("ids"))
      .def("contains", &FlatIndex::contains, py::arg("id"))
      .def("rows", &rows<FlatIndex>)
      .def("search", &search, py::arg("y"), py::arg("base"), py::arg("stage_y"), py::arg("stage_base"), py::arg("k"),
           py::arg("survivors"), py::arg("allow"))
      .def("save", &save<FlatIndex>, py::arg("path"), py::arg("extra"));
  m.def(
      "open_flat",
      [](const std::string& path, bool map, bool verify) { return open_index<FlatIndex>("flat", path, map, verify); },
      py::arg("path"), py::arg("map"), py::arg("verify"));
}

py::tuple search_graph(const GraphIndex& index, const Array<float>& y, const Array<float>& base, size_t k, size_t ef,
                       const std::optional<Array<int64_t>>& allow) {
  expect_shape(y, "y", {-1, static_cast<py::ssize_t>(index.format().spec.dims())});
  const py::ssize_t n = y.shape(0);
  expect_shape(base, "base", {n});
  const Queries queries{static_cast<size_t>(n), y.data(), base.data(), nullptr, nullptr};
  GraphIndex::Search params{k, ef, allow.has_value(), {}};
  if (allow) params.allow = {allow->data(), static_cast<size_t>(allow->size())};
  py::array_t<float> scores({n, static_cast<py::ssize_t>(k)});
  py::array_t<int64_t> ids({n, static_cast<py::ssize_t>(k)});
  {
    py::gil_scoped_release release;
    index.search(queries, params, scores.mutable_data(), ids.mutable_data());
  }
  return py::make_tuple(scores, ids);
}

std::unique_ptr<GraphIndex> make_graph(const std::vector<uint32_t>& widths, const std::string& factor,
                                       bool stage_factor, uint32_t factor_bytes, std::pair<uint32_t, uint32_t> code,
                                       std::pair<uint32_t, uint32_t> stage_code, uint32_t neighbors,
                                       uint32_t ef_construction, uint64_t seed, const Array<float>& gram,
                                       const Array<float>& mean, float mean_norm, float scale, float offset,
                                       bool lift) {
  const RowFormat format{spec_of(widths), factor_of(factor), stage_factor,
                         FactorCode::make(factor_bytes, code.first, code.second),
                         FactorCode::make(factor_bytes, stage_code.first, stage_code.second)};
  const auto dims = static_cast<py::ssize_t>(format.spec.dims());
  expect_shape(gram, "gram", {dims});
  expect_shape(mean, "mean", {dims});
  if (neighbors < 1 || neighbors > kMostNeighbors)
    fail(Code::InvalidArgument,
         "neighbors is " + std::to_string(neighbors) + ": want 1 to " + std::to_string(kMostNeighbors));
  return std::make_unique<GraphIndex>(
      format, GraphParams{neighbors, ef_construction, seed},
      CodeSpace{{gram.data(), gram.data() + dims}, {mean.data(), mean.data() + dims}, mean_norm, scale, offset, lift});
}

void bind_graph(py::module_& m) {
  py::class_<GraphIndex>(m, "GraphIndex")
      .def(py::init(&make_graph), py::arg("widths"), py::arg("factor"), py::arg("stage_factor"),
           py::arg("factor_bytes"), py::arg("code"), py::arg("stage_code"), py::arg("neighbors"),
           py::arg("ef_construction"), py::arg("seed"), py::arg("gram"), py::arg("mean"), py::arg("mean_norm"),
           py::arg("scale"), py::arg("offset"), py::arg("lift"))
      .def("__len__", &GraphIndex::size)
      .def_property_readonly("mapped", &GraphIndex::mapped)
      .def_property_readonly("widths", [](const GraphIndex& i) { return widths_of(i.format().spec); })
      .def_property_readonly("factor_bytes", [](const GraphIndex& i) { return i.format().code.bytes; })
      .def_property_readonly("neighbors", [](const GraphIndex& i) { return i.params().neighbors; })
      .def_property_readonly("node_bytes", [](const GraphIndex& i) { return i.layout().stride; })
      .def_property_readonly("max_id", &GraphIndex::max_id)
      .def("add", &add<GraphIndex>, py::arg("planes"), py::arg("factors"), py::arg("ids"))
      .def("remove", &remove<GraphIndex>, py::arg("ids"))
      .def("contains", &GraphIndex::contains, py::arg("id"))
      .def("rows", &rows<GraphIndex>)
      .def("search", &search_graph, py::arg("y"), py::arg("base"), py::arg("k"), py::arg("ef"), py::arg("allow"))
      .def("save", &save<GraphIndex>, py::arg("path"), py::arg("extra"));
  m.def(
      "open_graph",
      [](const std::string& path, bool map, bool verify) { return open_index<GraphIndex>("graph", path, map, verify); },
      py::arg("path"), py::arg("map"), py::arg("verify"));
}

// --- binarizer
// ----------------------------------------------------------------------------------------------------------

using PyLayer = std::pair<Array<float>, Array<float>>;

std::vector<Layer> layers_of(const std::vector<PyLayer>& layers, const std::string& name) {
  std::vector<Layer> views;
  for (const auto& [weight, bias] : layers) {
    const std::string at = name + "[" + std::to_string(views.size()) + "]";
    expect_shape(weight, (at + " weight").c_str(), {-1, -1});
    expect_shape(bias, (at + " bias").c_str(), {weight.shape(0)});
    views.push_back(
        {weight.data(), bias.data(), static_cast<uint32_t>(weight.shape(1)), static_cast<uint32_t>(weight.shape(0))});
  }
  return views;
}

std::unique_ptr<Encoder> make_encoder(const std::string& architecture, const std::vector<uint32_t>& widths,
                                      const std::vector<std::vector<PyLayer>>& networks, bool normalize,
                                      const std::optional<Array<float>>& gram, uint32_t sweeps, uint32_t tries) {
  if (architecture != "linear" && architecture != "recurrent")
    fail(Code::InvalidArgument, "architecture is '" + architecture + "': want linear or recurrent");
  const CodeSpec spec = spec_of(widths);
  std::vector<std::vector<Layer>> views;
  for (const std::vector<PyLayer>& layers : networks)
    views.push_back(layers_of(layers, "layers[" + std::to_string(views.size()) + "]"));
  const auto dims = static_cast<py::ssize_t>(spec.dims());
  if (gram) expect_shape(*gram, "gram", {dims, dims});
  py::gil_scoped_release release;
  return std::make_unique<Encoder>(architecture == "linear" ? Architecture::Linear : Architecture::Recurrent, spec,
                                   views, normalize, gram ? gram->data() : nullptr, sweeps, tries);
}

py::array_t<float> forward(const Network& network, const Array<float>& x) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(network.in())});
  const auto n = static_cast<size_t>(x.shape(0));
  py::array_t<float> out({x.shape(0), static_cast<py::ssize_t>(network.out())});
  const float* from = x.data();
  float* to = out.mutable_data();
  py::gil_scoped_release release;
  network.forward_all(from, n, to);
  return out;
}

py::array_t<uint8_t> encode(const Encoder& encoder, const Array<float>& x, bool bf16, bool refine) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(encoder.input_dim())});
  py::array_t<uint8_t> planes({x.shape(0), static_cast<py::ssize_t>(encoder.spec().row_bytes())});
  uint8_t* out = planes.mutable_data();
  py::gil_scoped_release release;
  encoder.encode(x.data(), static_cast<size_t>(x.shape(0)), bf16, refine, out);
  return planes;
}

std::unique_ptr<Decoder> make_decoder(const Array<float>& weight, const Array<float>& bias,
                                      const std::vector<uint32_t>& widths) {
  const CodeSpec spec = spec_of(widths);
  expect_shape(weight, "decoder weight", {static_cast<py::ssize_t>(spec.dims()), -1});
  expect_shape(bias, "decoder bias", {weight.shape(1)});
  if (bias.size() == 0) fail(Code::InvalidArgument, "decoder weight has no columns");
  py::gil_scoped_release release;
  return std::make_unique<Decoder>(spec, weight.data(), bias.data(), static_cast<uint32_t>(bias.size()));
}

size_t plane_rows(const CodeSpec& spec, const Array<uint8_t>& planes) {
  expect_shape(planes, "planes", {-1, static_cast<py::ssize_t>(spec.row_bytes())});
  return static_cast<size_t>(planes.shape(0));
}

py::array_t<float> decode(const Decoder& decoder, const Array<uint8_t>& planes) {
  const size_t n = plane_rows(decoder.spec(), planes);
  py::array_t<float> x({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(decoder.output_dim())});
  float* out = x.mutable_data();
  py::gil_scoped_release release;
  decoder.decode(planes.data(), n, out);
  return x;
}

py::array_t<float> norms(const Decoder& decoder, const Array<uint8_t>& planes) {
  const size_t n = plane_rows(decoder.spec(), planes);
  py::array_t<float> squares(static_cast<py::ssize_t>(n));
  float* out = squares.mutable_data();
  py::gil_scoped_release release;
  decoder.squared_norms(planes.data(), n, out);
  return squares;
}

py::tuple project(const Decoder& decoder, const Array<float>& q) {
  expect_shape(q, "q", {-1, static_cast<py::ssize_t>(decoder.output_dim())});
  py::array_t<float> y({q.shape(0), static_cast<py::ssize_t>(decoder.spec().dims())});
  py::array_t<float> base(q.shape(0));
  float *y_out = y.mutable_data(), *base_out = base.mutable_data();
  {
    py::gil_scoped_release release;
    decoder.project(q.data(), static_cast<size_t>(q.shape(0)), y_out, base_out);
  }
  return py::make_tuple(y, base);
}

void bind_binarizer(py::module_& m) {
  py::class_<Encoder>(m, "Encoder")
      .def(py::init(&make_encoder), py::arg("architecture"), py::arg("widths"), py::arg("layers"), py::arg("normalize"),
           py::arg("gram") = py::none(), py::arg("sweeps") = 0, py::arg("tries") = 0)
      .def_property_readonly("input_dim", &Encoder::input_dim)
      .def("encode", &encode, py::arg("x"), py::arg("bf16") = false, py::arg("refine") = true);
  py::class_<Network>(m, "Network")
      .def(py::init([](const std::vector<PyLayer>& layers, const std::string& name) {
             return std::make_unique<Network>(layers_of(layers, name), name.c_str());
           }),
           py::arg("layers"), py::arg("name"))
      .def_property_readonly("input_dim", &Network::in)
      .def_property_readonly("output_dim", &Network::out)
      .def("forward", &forward, py::arg("x"));
  py::class_<Decoder>(m, "Decoder")
      .def(py::init(&make_decoder), py::arg("weight"), py::arg("bias"), py::arg("widths"))
      .def("decode", &decode, py::arg("planes"))
      .def("norms", &norms, py::arg("planes"))
      .def("project", &project, py::arg("q"));
}

// --- errors, machine
// ----------------------------------------------------------------------------------------------------

void translate(std::exception_ptr p) {
  try {
    if (p) std::rethrow_exception(p);
  } catch (const Error& e) {
    const char* name = nullptr;
    switch (e.code()) {
      case Code::Corrupt:
        name = "CorruptFile";
        break;
      case Code::LimitExceeded:
        name = "LimitExceeded";
        break;
      case Code::NotFound:
        PyErr_SetString(PyExc_FileNotFoundError, e.what());
        return;
      case Code::Io:
        PyErr_SetString(PyExc_OSError, e.what());
        return;
      case Code::InvalidArgument:
      case Code::ReadOnly:
        PyErr_SetString(PyExc_ValueError, e.what());
        return;
    }
    const py::object type = py::module_::import("bebr.errors").attr(name);
    PyErr_SetString(type.ptr(), e.what());
  }
}

void bind_machine(py::module_& m) {
  m.def("isa", [] { return isa_name(chosen_isa()); });
  m.def("runnable_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : runnable_isas()) names.emplace_back(isa_name(isa));
    return names;
  });
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def(
      "kernel_bench",
      [](const std::string& isa, const std::string& kernel, uint32_t dims, uint32_t planes, size_t rows,
         uint32_t queries, size_t repeats) {
        for (const Isa here : runnable_isas())
          if (isa == isa_name(here)) {
            py::gil_scoped_release release;
            return bench_kernel(here, kernel, dims, planes, rows, queries, repeats);
          }
        fail(Code::InvalidArgument, "instruction set '" + isa + "' cannot run here");
      },
      py::arg("isa"), py::arg("kernel"), py::arg("dims"), py::arg("planes"), py::arg("rows"), py::arg("queries"),
      py::arg("repeats"));
  m.attr("version") = BEBR_VERSION;
  m.attr("file_version") = kFileVersion;
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ engine of bebr: codes, kernels, indexes. Use the bebr package, which checks and documents.";
  py::register_exception_translator(&translate);
  bind_machine(m);
  bind_binarizer(m);
  bind_codes(m);
  bind_index(m);
  bind_graph(m);
}
