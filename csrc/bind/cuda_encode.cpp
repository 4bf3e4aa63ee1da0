// Encoding and lists on a device, for bebr._cuda (bind/cuda.cpp).
#include "bind/cuda_encode.h"

#include <optional>
#include <tuple>

#include "bind/device_arrays.h"
#include "bind/layers.h"
#include "cuda/centroids.h"
#include "cuda/encoder.h"

namespace bebr {
namespace {

using DecoderTuple = std::tuple<Array<float>, Array<float>, size_t>;  // weight [dims, d], bias [d], planes

std::unique_ptr<cuda::Encoder> make_encoder(size_t device, const std::string& architecture,
                                            const std::vector<uint32_t>& widths,
                                            const std::vector<std::vector<PyLayer>>& networks, bool normalize,
                                            const std::vector<PyLayer>& adapter, float skip,
                                            const std::optional<Array<float>>& gram, uint32_t sweeps, uint32_t tries,
                                            const std::vector<DecoderTuple>& decoders) {
  const CodeSpec spec = spec_of(widths);
  const auto dims = static_cast<py::ssize_t>(spec.dims());
  cuda::EncoderModel model{architecture_of(architecture),
                           spec,
                           networks_of(networks),
                           normalize,
                           layers_of(adapter, "adapter"),
                           skip,
                           {},
                           {}};
  if (gram) expect_shape(*gram, "gram", {dims, dims});
  for (const auto& [of, mean, planes] : decoders) {
    expect_shape(of, "a decoder's weight", {dims, -1});
    expect_shape(mean, "a decoder's bias", {of.shape(1)});
    if (planes < 1 || planes > spec.planes)
      fail(ErrorCode::InvalidArgument,
           "a decoder has " + std::to_string(planes) + " planes: want 1 to " + std::to_string(spec.planes));
  }
  if (gram) model.descent = {gram->data(), sweeps, tries};
  for (const auto& [of, mean, planes] : decoders)
    model.decoders.push_back(
        {of.data(), mean.data(), static_cast<uint32_t>(mean.size()), static_cast<uint32_t>(planes)});
  const GilRelease release;
  return std::make_unique<cuda::Encoder>(device, model);
}

// planes uint8 [n, row_bytes], norms float32 [decoders, n], lengths float32 [n].
py::tuple encoded(const cuda::Encoder& encoder, const cuda::Vectors& x, bool optimize) {
  const auto n = static_cast<py::ssize_t>(x.rows);
  py::array_t<uint8_t> planes({n, static_cast<py::ssize_t>(encoder.spec().row_bytes())});
  py::array_t<float> norms({static_cast<py::ssize_t>(encoder.decoders()), n});
  py::array_t<float> lengths(n);
  uint8_t* to = planes.mutable_data();
  const cuda::EncodedNorms wanted{norms.mutable_data(), lengths.mutable_data()};
  {
    const GilRelease release;
    encoder.encode(x, optimize, to, wanted);
  }
  return py::make_tuple(planes, norms, lengths);
}

py::tuple encode(const cuda::Encoder& encoder, const Array<float>& x, bool optimize) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(encoder.input_dim())});
  const auto rows = static_cast<size_t>(x.shape(0));
  return encoded(encoder, {x.data(), rows, encoder.input_dim(), false, false}, optimize);
}

py::tuple encode_there(const cuda::Encoder& encoder, const py::object& x, bool optimize) {
  py::object keep;
  return encoded(encoder, vectors_on_device(x, "x", encoder.device(), encoder.input_dim(), keep), optimize);
}

// Queries on a device to the host.
py::array_t<float> brought(size_t device, const py::object& queries, uint32_t dim) {
  py::object keep;
  const cuda::Vectors x = vectors_on_device(queries, "queries", device, dim, keep);
  py::array_t<float> out({static_cast<py::ssize_t>(x.rows), static_cast<py::ssize_t>(dim)});
  float* to = out.mutable_data();
  const GilRelease release;
  cuda::bring(device, x, dim, to);
  return out;
}

py::array_t<uint32_t> assign(const cuda::Centroids& centroids, const Array<float>& x) {
  expect_shape(x, "x", {-1, static_cast<py::ssize_t>(centroids.dim())});
  py::array_t<uint32_t> lists(x.shape(0));
  uint32_t* out = lists.mutable_data();
  const float* from = x.data();
  const auto n = static_cast<size_t>(x.shape(0));
  const GilRelease release;
  centroids.assign(from, n, out);
  return lists;
}

}  // namespace

void bind_cuda_encode(py::module_& m) {
  m.def("brought", &brought, py::arg("device"), py::arg("queries"), py::arg("dim"));
  py::class_<cuda::Encoder>(m, "Encoder", py::module_local())
      .def(py::init(&make_encoder), py::arg("device"), py::arg("architecture"), py::arg("widths"), py::arg("networks"),
           py::arg("normalize"), py::arg("adapter"), py::arg("skip"), py::arg("gram"), py::arg("sweeps"),
           py::arg("tries"), py::arg("decoders"))
      .def("encode", &encode, py::arg("x"), py::arg("optimize"))
      .def("encode_there", &encode_there, py::arg("x"), py::arg("optimize"));
  py::class_<cuda::Centroids>(m, "Centroids", py::module_local())
      .def(py::init([](size_t device, const Array<float>& values, size_t most_direct) {
             expect_shape(values, "values", {-1, -1});
             if (values.size() == 0) fail(ErrorCode::InvalidArgument, "values is empty: want at least one centroid");
             return std::make_unique<cuda::Centroids>(device, static_cast<uint32_t>(values.shape(1)),
                                                      static_cast<size_t>(values.shape(0)), values.data(), most_direct);
           }),
           py::arg("device"), py::arg("values"), py::arg("most_direct") = cuda::kMostDirect)
      .def("assign", &assign, py::arg("x"));
#if defined(BEBR_EMULATED)
  // What tests take for another library's memory, and what they ask of the emulated device.
  py::class_<cuda::DeviceArray<uint8_t>>(m, "Memory", py::module_local())
      .def(py::init([](const Array<uint8_t>& bytes) {
             return cuda::DeviceArray<uint8_t>(std::span(bytes.data(), static_cast<size_t>(bytes.size())));
           }),
           py::arg("bytes"))
      .def_property_readonly("address", [](const cuda::DeviceArray<uint8_t>& memory) {
        return reinterpret_cast<uintptr_t>(memory.address());
      });
  m.def("free_memory", &cuda::free_memory);  // of the device in use
  m.def("copied", [] { return std::pair(cuda::copied().up, cuda::copied().down); });
  m.def("waited", &cuda::waited);
#endif
}

}  // namespace bebr
