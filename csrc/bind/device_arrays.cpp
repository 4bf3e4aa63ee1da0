#include "bind/device_arrays.h"

#include <cstdint>
#include <optional>

#include "bind/dlpack.h"
#include "cuda/memory.h"

namespace bebr {
namespace {

constexpr const char* kInterface = "__cuda_array_interface__";

// What both protocols say of an array. Strides in entries.
struct Described {
  uintptr_t at = 0;
  std::string dtype;
  std::vector<int64_t> shape, strides;
};

// The name of the argument is put before it where it is caught.
[[noreturn]] void refuse(const std::string& what, const std::string& want) {
  fail(ErrorCode::InvalidArgument, " " + what + ": want " + want);
}

std::string listed(const std::vector<int64_t>& values) {
  std::string text = "(";
  for (size_t i = 0; i < values.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(values[i]);
  return text + (values.size() == 1 ? ",)" : ")");
}

std::vector<int64_t> side_by_side(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

int64_t entry_bytes(const std::string& dtype) { return dtype == "float16" ? 2 : 4; }

void check_dtype(const std::string& dtype) {
  if (dtype != "float32" && dtype != "float16") refuse("has dtype " + dtype, "float32 or float16");
}

// https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, versions 2 and 3.
Described by_interface(const py::object& x) {
  const auto about = py::dict(x.attr(kInterface));
  const auto entry = [&](const char* key) -> py::object {
    return about.contains(key) ? py::object(about[key]) : py::none();
  };
  for (const char* key : {"shape", "typestr", "data"})
    if (entry(key).is_none()) refuse(std::string("has a ") + kInterface + " without '" + key + "'", "one with it");
  if (!entry("mask").is_none()) refuse("has a mask", "none");
  Described array;
  const auto type = entry("typestr").cast<std::string>();
  array.dtype = type == "<f4" ? "float32" : type == "<f2" ? "float16" : type;
  check_dtype(array.dtype);
  array.shape = entry("shape").cast<std::vector<int64_t>>();
  array.strides = side_by_side(array.shape);
  if (const py::object strides = entry("strides"); !strides.is_none()) {
    array.strides = strides.cast<std::vector<int64_t>>();
    for (int64_t& stride : array.strides) {
      if (stride % entry_bytes(array.dtype) != 0)
        refuse("has strides of " + listed(array.strides) + " bytes", "whole entries");
      stride /= entry_bytes(array.dtype);
    }
  }
  array.at = entry("data").cast<std::pair<uintptr_t, bool>>().first;
  if (const py::object stream = entry("stream"); !stream.is_none()) {
    const auto handle = stream.cast<uint64_t>();
    if (handle == 0) refuse(std::string("has a ") + kInterface + " with stream 0", "None, 1, 2 or a stream's handle");
    if (handle != 1) {  // the stream that encoding runs on
      const GilRelease release;
      cuda::wait_for(handle);
    }
  }
  return array;
}

// https://dmlc.github.io/dlpack: for stream 1, the producer sees to it that the array is ready there.
Described by_dlpack(const py::object& x, py::object& keep) {
  keep = x.attr("__dlpack__")(py::arg("stream") = 1);
  const auto* tensor = static_cast<const DlTensor*>(PyCapsule_GetPointer(keep.ptr(), kDlFresh));
  if (tensor == nullptr) throw py::error_already_set();
  Described array;
  array.dtype = (tensor->code == kDlFloat ? "float" : "type " + std::to_string(tensor->code) + " of ") +
                std::to_string(tensor->bits) + (tensor->lanes == 1 ? "" : " x " + std::to_string(tensor->lanes));
  check_dtype(array.dtype);
  array.shape.assign(tensor->shape, tensor->shape + tensor->ndim);
  array.strides = side_by_side(array.shape);
  if (tensor->strides != nullptr) array.strides.assign(tensor->strides, tensor->strides + tensor->ndim);
  array.at = reinterpret_cast<uintptr_t>(tensor->data) + tensor->byte_offset;
  return array;
}

cuda::Vectors described(const py::object& x, size_t device, uint32_t dim, py::object& keep) {
  keep = x;
  // torch offers both, and names no stream in its interface: only by DLPack is work on another stream waited for.
  Described array = py::hasattr(x, "__dlpack__") ? by_dlpack(x, keep) : by_interface(x);
  if (array.shape.size() == 1) {
    array.shape.insert(array.shape.begin(), 1);
    array.strides.insert(array.strides.begin(), 0);
  }
  if (array.shape.size() != 2 || array.shape[1] != int64_t{dim})
    refuse("has shape " + listed(array.shape), "(n, " + std::to_string(dim) + ")");
  if ((dim > 1 && array.strides[1] != 1) || array.strides[0] < 0)
    refuse("has strides of " + listed(array.strides) + " entries", "the entries of a row side by side");
  if (array.shape[0] == 0) return {nullptr, 0, dim, true, array.dtype == "float16"};
  const auto* at = reinterpret_cast<const void*>(array.at);
  if (array.at % static_cast<uintptr_t>(entry_bytes(array.dtype)) != 0)
    refuse("begins at address " + std::to_string(array.at),
           "a multiple of " + std::to_string(entry_bytes(array.dtype)));
  const std::optional<size_t> owner = cuda::device_of(at);
  if (!owner) refuse("is not in the memory of a device", "device " + std::to_string(device));
  if (*owner != device) refuse("is on device " + std::to_string(*owner), "device " + std::to_string(device));
  return {at, static_cast<size_t>(array.shape[0]), static_cast<size_t>(array.strides[0]), true,
          array.dtype == "float16"};
}

}  // namespace

cuda::Vectors vectors_on_device(const py::object& x, const char* name, size_t device, uint32_t dim, py::object& keep) {
  try {
    return described(x, device, dim, keep);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::InvalidArgument) throw;
    fail(ErrorCode::InvalidArgument, name + std::string(error.what()));
  }
}

}  // namespace bebr
