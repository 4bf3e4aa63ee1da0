#include "index/flat/parts.h"

#include "index/complete.h"

namespace bebr {

FlatParts::FlatParts(std::span<const FlatPart> parts) : parts_(parts.begin(), parts.end()) {
  size_t next = 0;
  for (const FlatPart& part : parts_) {
    first_.push_back(static_cast<uint32_t>(next));
    rows_ += part.rows.rows;
    next = round_up(next + part.rows.rows, kAlign * kBlockRows);
    if (next > UINT32_MAX) fail(ErrorCode::LimitExceeded, "a flat scan covers at most 2^32 - 64 rows");
  }
  first_.push_back(static_cast<uint32_t>(next));
}

void FlatParts::complete(const RowFormat& format, std::span<const uint32_t> rows, const FineQuery& fine, float base,
                         const SearchOptions& options, TopK& top, const int32_t* sums) const {
  constexpr size_t kPiece = 1024;  // until `stop` is looked at
  uint32_t local[kPiece], kept[kPiece + 16];
  float scores[kPiece + 16];
  const float error = sums != nullptr ? float_error(format.spec, fine, base) : 0;
  note_work(options.work, 0, rows.size());
  for (size_t i = 0; i < rows.size();) {
    check_stop(options);
    const size_t p = part_of(rows[i]);
    size_t n = 0;
    for (; i < rows.size() && rows[i] < first_[p + 1] && n < kPiece; ++i) local[n++] = rows[i] - first_[p];
    if (sums != nullptr) {
      const RowView& view = parts_[p].rows;
      if (local[n - 1] - local[0] == n - 1) {  // side by side
        push_known(format, view, fine, base, error, sums + first_[p] + local[0], local[0], n, nullptr, kept, scores,
                   top);
        continue;
      }
      for (const uint32_t row : std::span(local, n))
        top.push({final_score(format, view.factors, base, fine, row, sums[first_[p] + row]), view.ids[row]});
      continue;
    }
    complete_rows(format, parts_[p].rows, fine, base, {local, n}, top);
  }
}

}  // namespace bebr
