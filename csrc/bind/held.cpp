#include "bind/held.h"

#include <mutex>
#include <utility>
#include <vector>

namespace bebr {
namespace {

struct Waiting {
  std::mutex mutex;
  std::vector<PyObject*> objects;
};

Waiting& waiting() {
  static auto* const kept = new Waiting;  // outlives every thread
  return *kept;
}

void let_go(const void* pointer) noexcept {
  auto* const object = static_cast<PyObject*>(const_cast<void*>(pointer));
  if (PyGILState_Check() != 0) return Py_DECREF(object);
  try {
    const std::lock_guard lock(waiting().mutex);
    waiting().objects.push_back(object);
  } catch (const std::exception&) {  // without memory it stays for ever
  }
}

}  // namespace

std::shared_ptr<const void> held(pybind11::object object) {
  std::vector<PyObject*> due;
  {
    const std::lock_guard lock(waiting().mutex);
    due.swap(waiting().objects);
  }
  for (PyObject* const one : due) Py_DECREF(one);
  return {static_cast<const void*>(object.release().ptr()), &let_go};
}

}  // namespace bebr
