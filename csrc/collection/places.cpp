#include "collection/places.h"

namespace bebr {

std::vector<Place> places(std::span<const std::shared_ptr<const CollectionPart>> parts, std::span<const int64_t> ids) {
  std::vector<Place> placed;
  std::vector<int64_t> left, rows;
  std::vector<size_t> which;  // of ids these are
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) continue;
    left.push_back(ids[i]);
    which.push_back(i);
  }
  for (uint32_t p = 0; p < parts.size() && !left.empty(); ++p) {
    const CollectionPart& part = *parts[p];
    rows.resize(left.size());
    part.positions(left, rows.data());
    size_t kept = 0;
    for (size_t i = 0; i < left.size(); ++i) {
      if (rows[i] >= 0 && !part.hidden[static_cast<size_t>(rows[i])]) {
        placed.push_back({p, static_cast<uint32_t>(rows[i]), left[i], which[i]});
      } else {
        left[kept] = left[i];
        which[kept++] = which[i];
      }
    }
    left.resize(kept);
    which.resize(kept);
  }
  return placed;
}

void CollectionPart::positions(std::span<const int64_t> ids, int64_t* out) const {
  if (!tail) return reader->positions(ids, out);
  tail->positions(ids, out);
  for (size_t i = 0; i < ids.size(); ++i)  // written again since
    if (out[i] >= 0 && static_cast<size_t>(out[i]) >= reader->rows()) reader->positions(ids.subspan(i, 1), out + i);
}

bool CollectionSnapshot::try_texts(const int64_t* ids, size_t n, bool payloads, RowTexts& out) const noexcept {
  try {
    out.payloads.assign(payloads ? n : 0, {});
    out.keys.assign(keyed_ ? n : 0, {});
    for (const Place& place : places(parts_, {ids, n})) {
      const CollectionPart& part = *parts_[place.part];
      if (payloads && part.payloads) {
        const std::optional<std::string_view> text = part.payloads->find(place.row);
        if (!text || !is_utf8(*text)) return false;
        out.payloads[place.at] = *text;
      }
      if (part.keys) {
        const std::optional<std::string_view> key = part.keys->find(place.row);
        if (!key) return false;
        out.keys[place.at] = *key;
      }
    }
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace bebr
