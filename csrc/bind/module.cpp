// The files of this folder are the only ones that see pybind11. Arrays come in checked (dtype and C order by the array
// types, shapes here); the GIL is released round everything that works; Error becomes the Python exception of its code
// (bebr/errors.py).
#include <optional>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "binarizer/decoder.h"
#include "binarizer/encoder.h"
#include "binarizer/network.h"
#include "bind/arrays.h"
#include "bind/errors.h"
#include "bind/layers.h"
#include "bind/signals.h"
#include "bind/vectors.h"
#include "code/planes.h"

using namespace bebr;

namespace {

// --- codes
// --------------------------------------------------------------------------------------------------------------

py::array_t<float> unpack(const Array<uint8_t>& planes, const std::vector<uint32_t>& widths) {
  const CodeSpec spec = spec_of(widths);
  expect_shape(planes, "planes", {-1, static_cast<py::ssize_t>(spec.row_bytes())});
  const py::ssize_t n = planes.shape(0);
  py::array_t<float> v({n, static_cast<py::ssize_t>(spec.dims())});
  const uint8_t* rows = planes.data();
  float* out = v.mutable_data();
  const NoGilFor release(n);
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
  const NoGilFor release(n);
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

// --- binarizer
// ----------------------------------------------------------------------------------------------------------

std::shared_ptr<Encoder> make_encoder(const std::string& architecture, const std::vector<uint32_t>& widths,
                                      const std::vector<std::vector<PyLayer>>& networks, bool normalize,
                                      const std::optional<Array<float>>& gram, uint32_t sweeps, uint32_t tries) {
  const Architecture kind = architecture_of(architecture);
  const CodeSpec spec = spec_of(widths);
  const std::vector<std::vector<Layer>> views = networks_of(networks);
  const auto dims = static_cast<py::ssize_t>(spec.dims());
  if (gram) expect_shape(*gram, "gram", {dims, dims});
  GilRelease release;
  return std::make_shared<Encoder>(kind, spec, views, normalize, gram ? gram->data() : nullptr, sweeps, tries);
}

py::array_t<float> forward(const Network& network, const Array<float>& x) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(network.in())});
  const auto n = static_cast<size_t>(x.shape(0));
  py::array_t<float> out({x.shape(0), static_cast<py::ssize_t>(network.out())});
  const float* from = x.data();
  float* to = out.mutable_data();
  const NoGilFor release(x.shape(0));
  network.forward_all(from, n, to);
  return out;
}

py::array_t<uint8_t> encode(const Encoder& encoder, const Array<float>& x, bool bf16, bool optimize) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(encoder.input_dim())});
  py::array_t<uint8_t> planes({x.shape(0), static_cast<py::ssize_t>(encoder.spec().row_bytes())});
  uint8_t* out = planes.mutable_data();
  const NoGilFor release(x.shape(0));
  const EndedBySignals signals;
  encoder.encode(x.data(), static_cast<size_t>(x.shape(0)), bf16, optimize, out);
  return planes;
}

std::shared_ptr<Decoder> make_decoder(const Array<float>& weight, const Array<float>& bias,
                                      const std::vector<uint32_t>& widths) {
  const CodeSpec spec = spec_of(widths);
  expect_shape(weight, "decoder weight", {static_cast<py::ssize_t>(spec.dims()), -1});
  expect_shape(bias, "decoder bias", {weight.shape(1)});
  if (bias.size() == 0) fail(ErrorCode::InvalidArgument, "decoder weight has no columns");
  GilRelease release;
  return std::make_shared<Decoder>(spec, weight.data(), bias.data(), static_cast<uint32_t>(bias.size()));
}

size_t plane_rows(const CodeSpec& spec, const Array<uint8_t>& planes) {
  expect_shape(planes, "planes", {-1, static_cast<py::ssize_t>(spec.row_bytes())});
  return static_cast<size_t>(planes.shape(0));
}

py::array_t<float> decode(const Decoder& decoder, const Array<uint8_t>& planes) {
  const size_t n = plane_rows(decoder.spec(), planes);
  py::array_t<float> x({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(decoder.output_dim())});
  float* out = x.mutable_data();
  const NoGilFor release(planes.shape(0));
  decoder.decode(planes.data(), n, out);
  return x;
}

py::array_t<float> norms(const Decoder& decoder, const Array<uint8_t>& planes) {
  const size_t n = plane_rows(decoder.spec(), planes);
  py::array_t<float> squares(static_cast<py::ssize_t>(n));
  float* out = squares.mutable_data();
  const NoGilFor release(planes.shape(0));
  decoder.squared_norms(planes.data(), n, out);
  return squares;
}

py::tuple project(const Decoder& decoder, const Array<float>& q) {
  expect_shape(q, "q", {-1, static_cast<py::ssize_t>(decoder.output_dim())});
  py::array_t<float> y({q.shape(0), static_cast<py::ssize_t>(decoder.spec().dims())});
  py::array_t<float> base(q.shape(0));
  float *y_out = y.mutable_data(), *base_out = base.mutable_data();
  {
    const NoGilFor release(q.shape(0));
    decoder.project(q.data(), static_cast<size_t>(q.shape(0)), y_out, base_out);
  }
  return py::make_tuple(y, base);
}

void bind_binarizer(py::module_& m) {
  py::class_<Encoder, std::shared_ptr<Encoder>>(m, "Encoder")
      .def(py::init(&make_encoder), py::arg("architecture"), py::arg("widths"), py::arg("layers"), py::arg("normalize"),
           py::arg("gram") = py::none(), py::arg("sweeps") = 0, py::arg("tries") = 0)
      .def_property_readonly("input_dim", &Encoder::input_dim)
      .def("encode", &encode, py::arg("x"), py::arg("bf16") = false, py::arg("optimize") = true);
  py::class_<Network, std::shared_ptr<Network>>(m, "Network")
      .def(py::init([](const std::vector<PyLayer>& layers, const std::string& name) {
             return std::make_shared<Network>(layers_of(layers, name), name.c_str());
           }),
           py::arg("layers"), py::arg("name"))
      .def_property_readonly("input_dim", &Network::in)
      .def_property_readonly("output_dim", &Network::out)
      .def("forward", &forward, py::arg("x"));
  py::class_<Decoder, std::shared_ptr<Decoder>>(m, "Decoder")
      .def(py::init(&make_decoder), py::arg("weight"), py::arg("bias"), py::arg("widths"))
      .def("decode", &decode, py::arg("planes"))
      .def("norms", &norms, py::arg("planes"))
      .def("project", &project, py::arg("q"));
}

// --- errors, machine
// ----------------------------------------------------------------------------------------------------

void bind_machine(py::module_& m) {
  m.def("isa", [] { return isa_name(chosen_isa()); });
  m.def("runnable_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : runnable_isas()) names.emplace_back(isa_name(isa));
    return names;
  });
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("enter_background", &enter_background);
  m.def("foreground_calls", &foreground_calls);
  m.attr("version") = BEBR_VERSION;
  m.attr("file_version") = kFileVersion;
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ engine of bebr: codes, kernels, indexes. Use the bebr package, which checks and documents.";
  py::register_exception_translator(&raise_in_python);
  bind_machine(m);
  bind_binarizer(m);
  bind_codes(m);
  bind_raw(m);
  bind_search(m);
  bind_vectors(m);
  bind_index(m);
  bind_collection(m);
  bind_payload(m);
  bind_messages(m);
  bind_build(m);
}
