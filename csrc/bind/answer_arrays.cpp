#include "bind/answer_arrays.h"

#include <array>
#include <memory>

#include "bind/dlpack.h"

namespace bebr {
namespace {

// Whole and ready on every stream when Python sees it.
struct AnswerArray {
  std::shared_ptr<void> memory;
  const void* at;
  std::array<int64_t, 2> shape;
  bool whole_numbers;  // int64, else float32
  size_t device;

  size_t entry_bytes() const noexcept { return whole_numbers ? sizeof(int64_t) : sizeof(float); }
  py::dtype dtype() const { return whole_numbers ? py::dtype::of<int64_t>() : py::dtype::of<float>(); }
};

template <typename T>
AnswerArray array_of(cuda::DeviceArray<T>&& values, size_t device, py::ssize_t n, py::ssize_t k) {
  const auto memory = std::make_shared<cuda::DeviceArray<T>>(std::move(values));
  return {memory, memory->address(), {n, k}, std::is_integral_v<T>, device};
}

// https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, version 3. Stream None: nothing to wait for.
py::dict interface_of(const AnswerArray& array) {
  py::dict about;
  about["shape"] = py::make_tuple(array.shape[0], array.shape[1]);
  about["typestr"] = array.whole_numbers ? "<i8" : "<f4";
  about["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(array.at), false);
  about["version"] = 3;
  about["strides"] = py::none();
  about["stream"] = py::none();
  return about;
}

struct Lent {
  AnswerArray array;
  std::array<int64_t, 2> strides;
  DlManaged managed;
};

py::tuple place_of(const AnswerArray& array) { return py::make_tuple(kDlCuda, array.device); }

// https://data-apis.org/array-api/latest/API_specification/generated/array_api.array.__dlpack__.html
py::capsule dlpack_of(const AnswerArray& array, const std::optional<int64_t>& stream, const py::object& /*max_version*/,
                      const py::object& dl_device, const std::optional<bool>& copy) {
  if (stream == int64_t{0}) fail(ErrorCode::InvalidArgument, "stream is 0: want None, -1, 1, 2 or a stream's handle");
  if (!dl_device.is_none() && !dl_device.equal(place_of(array)))
    throw py::buffer_error("dl_device is " + py::repr(dl_device).cast<std::string>() + ": want " +
                           py::repr(place_of(array)).cast<std::string>() + ", where the array is");
  if (copy.value_or(false)) throw py::buffer_error("copy is True: want None or False, for the array is lent");
  auto lent = std::make_unique<Lent>(Lent{array, {array.shape[1], 1}, {}});
  const uint8_t code = array.whole_numbers ? kDlInt : kDlFloat;
  lent->managed.tensor = {const_cast<void*>(array.at),
                          kDlCuda,
                          static_cast<int32_t>(array.device),
                          2,
                          code,
                          static_cast<uint8_t>(8 * array.entry_bytes()),
                          1,
                          lent->array.shape.data(),
                          lent->strides.data(),
                          0};
  lent->managed.owner = lent.get();
  lent->managed.release = [](DlManaged* managed) { delete static_cast<Lent*>(managed->owner); };
  const auto unused = [](PyObject* capsule) {  // whoever takes it renames it
    if (PyCapsule_IsValid(capsule, kDlFresh) == 0) return;
    auto* managed = static_cast<DlManaged*>(PyCapsule_GetPointer(capsule, kDlFresh));
    managed->release(managed);
  };
  PyObject* capsule = PyCapsule_New(&lent->managed, kDlFresh, unused);
  if (capsule == nullptr) throw py::error_already_set();
  static_cast<void>(lent.release());
  return py::reinterpret_steal<py::capsule>(capsule);
}

// A copy on the host.
py::object numpy_of(const AnswerArray& array, const py::object& dtype, const std::optional<bool>& copy) {
  if (copy == false)
    fail(ErrorCode::InvalidArgument, "copy is False: what is on a device has to be copied to the host");
  py::array values(array.dtype(), std::vector<py::ssize_t>{array.shape[0], array.shape[1]});
  void* to = values.mutable_data();
  const size_t bytes = static_cast<size_t>(values.size()) * array.entry_bytes();
  if (bytes > 0) {
    const GilRelease release;
    const cuda::OnDevice there(array.device);
    cuda::download(to, array.at, bytes);
  }
  return dtype.is_none() ? py::object(values) : values.attr("astype")(dtype);
}

// Answers that were made on the host.
py::tuple put(size_t device, const Array<float>& scores, const Array<int64_t>& ids) {
  expect_shape(scores, "scores", {-1, -1});
  const py::ssize_t n = scores.shape(0), k = scores.shape(1);
  expect_shape(ids, "ids", {n, k});
  const auto size = static_cast<size_t>(n * k);
  const cuda::OnDevice there(device);
  return shown({cuda::DeviceArray<float>(std::span(scores.data(), size)),
                cuda::DeviceArray<int64_t>(std::span(ids.data(), size))},
               device, n, k);
}

}  // namespace

py::tuple shown(cuda::DeviceAnswers answers, size_t device, py::ssize_t n, py::ssize_t k) {
  return py::make_tuple(array_of(std::move(answers.scores), device, n, k),
                        array_of(std::move(answers.ids), device, n, k));
}

void bind_answer_arrays(py::module_& m) {
  py::class_<AnswerArray>(m, "DeviceArray", py::module_local())
      .def_property_readonly("shape", [](const AnswerArray& a) { return py::make_tuple(a.shape[0], a.shape[1]); })
      .def_property_readonly("dtype", &AnswerArray::dtype)
      .def("__len__", [](const AnswerArray& array) { return array.shape[0]; })
      .def("__array__", &numpy_of, py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def_property_readonly("__cuda_array_interface__", &interface_of)
      .def("__dlpack_device__", &place_of)
      .def("__dlpack__", &dlpack_of, py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
           py::arg("dl_device") = py::none(), py::arg("copy") = py::none());
  m.def("put", &put, py::arg("device"), py::arg("scores"), py::arg("ids"));
}

}  // namespace bebr
