#include "cuda/batch.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "index/byte_queries.h"
#include "index/query.h"
#include "index/raise.h"
#include "index/topk.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kCompleteShares = 8;  // blocks a query

uint32_t narrow(size_t n) { return static_cast<uint32_t>(n); }

template <typename T, typename Of>
DeviceArray<T> each_query(size_t count, const Of& of) {
  std::vector<T> values(count);
  for (size_t q = 0; q < count; ++q) values[q] = of(q);
  return DeviceArray<T>(values);
}

}  // namespace

Batch::Batch(const CodeSpec& spec, const CodeSpec& scanned, const Queries& queries, ScanTile tile, size_t k,
             size_t room, size_t shared, const float* min_scores)
    : count_(queries.count), room_(room) {
  QueryBatch forms(spec, queries);
  const std::vector<FineQuery>& fine = forms.fine();
  const ByteQueries bytes = make_byte_queries(scanned, forms.exact_y(), count_);
  const ScanPlan plan = make_plan(scanned, bytes.copied, tile, shared);

  const size_t stride = y16_stride(spec.dims());
  std::vector<int16_t> fine_entries(count_ * stride);
  for (size_t q = 0; q < count_; ++q) std::copy_n(fine[q].y16.as<int16_t>(), stride, fine_entries.data() + q * stride);
  const auto floor = [&](size_t q) { return min_scores != nullptr ? min_scores[q] : kLowest; };
  y16_ = DeviceArray<int16_t>(fine_entries);
  base_ = DeviceArray<float>(std::span(queries.base, count_));
  fine_scale_ = each_query<double>(count_, [&](size_t q) { return fine[q].scale; });
  ones_ = each_query<int32_t>(count_, [&](size_t q) { return fine[q].ones[spec.planes]; });
  y8_ = DeviceArray<int8_t>(arrange(plan, bytes.y8.as<int8_t>(), count_, bytes.stride()));
  const auto unread = [&](size_t q) {  // as scan_margin
    return scanned == spec ? 0 : static_cast<float>(unread_bound(spec, fine[q]) * (1 + 1e-5));
  };
  raised_ = each_query<float>(count_, [&](size_t q) {
    return queries.base[q] + bytes.base[q] + (exact_raise(bytes, q, queries.base[q]) + unread(q));
  });
  scale_ = DeviceArray<float>(bytes.scale);
  floor_ = each_query<float>(count_, floor);
  threshold_ = each_query<float>(count_, floor);
  words_ = DeviceArray<uint32_t>(plan_words(plan));
  found_ = DeviceArray<uint32_t>(count_);
  candidates_ = DeviceArray<Candidate>(count_ * room);
  best_scores_ = DeviceArray<float>(std::vector<float>(count_ * k, kLowest));
  best_ids_ = DeviceArray<int64_t>(std::vector<int64_t>(count_ * k, -1));

  scan_.tile = tile;
  scan_.plan = std::as_const(words_).data();
  scan_.chunks = narrow(plan.chunks.size());
  scan_.steps = plan.steps();
  scan_.shared = plan.room;
  scan_.y8 = std::as_const(y8_).data();
  scan_.base = std::as_const(raised_).data();
  scan_.scale = std::as_const(scale_).data();
  scan_.threshold = std::as_const(threshold_).data();
  scan_.found = found_.data();
  scan_.candidates = candidates_.data();
  scan_.room = narrow(room);

  complete_.spec = spec;
  complete_.count = narrow(count_);
  complete_.y16 = std::as_const(y16_).data();
  complete_.base = std::as_const(base_).data();
  complete_.scale = std::as_const(fine_scale_).data();
  complete_.ones = std::as_const(ones_).data();
  complete_.found = std::as_const(found_).data();
  complete_.candidates = candidates_.data();
  complete_.room = scan_.room;
  best_.count = complete_.count;
  best_.k = narrow(k);
  best_.room = scan_.room;
  best_.found = complete_.found;
  best_.candidates = std::as_const(candidates_).data();
  best_.floor = std::as_const(floor_).data();
  best_.best_scores = best_scores_.data();
  best_.best_ids = best_ids_.data();
  best_.threshold = threshold_.data();
}

size_t Batch::bytes_of_query(const CodeSpec& spec, size_t k, size_t room) {
  const size_t sorted = std::bit_ceil(k + room);
  return y8_stride(spec.groups()) + 2 * y16_stride(spec.dims()) + room * sizeof(Candidate) + 12 * k + 64 +
         (sorted > kMostSharedSort ? 12 * sorted : 0);
}

void Batch::look_at(const RowsOnDevice& rows, DevicePointer<const uint16_t> mask) {
  complete_.codes = scan_.codes = rows.codes;
  complete_.factors = scan_.factors = rows.factors;
  complete_.rest = rows.rest;
  best_.ids = rows.ids;
  scan_.mask = mask;
}

size_t Batch::round(const std::vector<ScanItem>& items, const std::vector<uint32_t>& visitors) {
  if (items.empty()) return 0;
  const auto put = [](const auto& values, auto& array) {
    if (array.size() < values.size()) array = std::remove_reference_t<decltype(array)>(values.size());
    array.put(values);
    return std::as_const(array).data();
  };
  scan_.items = put(items, items_);
  scan_.visitors = visitors.empty() ? DevicePointer<const uint32_t>() : put(visitors, visitors_);
  found_.fill_bytes(0);
  scan_codes(scan_, items.size());
  const std::vector<uint32_t> counts = found_.get();
  const size_t most = *std::max_element(counts.begin(), counts.end());
  if (most > room_ || most == 0) return most;
  complete(complete_, kCompleteShares);
  best_.size = narrow(std::bit_ceil(best_.k + most));
  if (best_.size > kMostSharedSort) {
    work_ = DeviceArray<uint8_t>(count_ * best_.size * 12);
    best_.work = work_.data();
  } else {
    best_.work = {};
  }
  best(best_);
  return most;
}

}  // namespace bebr::cuda
