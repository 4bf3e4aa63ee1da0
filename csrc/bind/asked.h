// A search of a collection as Python asks for it.
#pragma once

#include <memory>
#include <optional>

#include "bind/search.h"
#include "collection/searcher.h"

namespace bebr {

struct PyAsked {
  size_t k;
  bool coded;
  std::optional<size_t> oversampling;
  bool exact;
  std::optional<double> radius;
  std::optional<size_t> rescore, nprobe, ef_search;
  std::shared_ptr<StopFlag> stop;
  PyIds allow;

  CollectionSearch view() const {
    return {k,
            coded,
            exact,
            oversampling,
            radius,
            rescore,
            nprobe,
            ef_search,
            ids_of(allow),
            stop ? &stop->set : nullptr,
            stop ? &stop->work : nullptr};
  }
};

}  // namespace bebr
