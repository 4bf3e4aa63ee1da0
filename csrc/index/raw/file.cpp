// Sections of RawVectors within the file of the index that they belong to.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/pages.h"
#include "index/format_file.h"
#include "index/raw/raw.h"

namespace bebr {

bool RawVectors::owns_section(std::string_view name) {
  constexpr std::string_view kOwn[] = {"raw", "raw_rows", "raw_ids", "raw_by_id"};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

bool RawVectors::in(const File& file) {
  const std::vector<std::string> names = file.names();
  return std::any_of(names.begin(), names.end(), owns_section);
}

std::unique_ptr<RawVectors> RawVectors::open(std::shared_ptr<const File> file, bool map) {
  const auto corrupt = [&](const std::string& what) { fail(ErrorCode::Corrupt, file->path() + ": " + what); };
  const auto head = read_struct<RawHead>(*file, "raw");
  if (head.dim < 1 || head.dim > 1u << 16 || head.type > 1 || head.rows > UINT32_MAX)
    corrupt("section 'raw' names " + std::to_string(head.rows) + " vectors of " + std::to_string(head.dim) +
            " dimensions, type " + std::to_string(head.type));
  auto raw = std::make_unique<RawVectors>(RawFormat{head.dim, static_cast<RawType>(head.type)});
  const size_t rows = head.rows;
  expect_size(*file, "raw_rows", rows * raw->format_.stride());
  expect_size(*file, "raw_ids", rows * sizeof(int64_t));
  expect_size(*file, "raw_by_id", rows * sizeof(uint32_t));
  const std::span<const uint8_t> row_bytes = file->section("raw_rows"), id_bytes = file->section("raw_ids");
  if (map) {
    raw->rows_ = row_bytes.data();
    raw->ids_ = reinterpret_cast<const int64_t*>(id_bytes.data());
    raw->size_ = rows;
    raw->order_ =
        IdOrder({raw->ids_, rows}, {reinterpret_cast<const uint32_t*>(file->section("raw_by_id").data()), rows});
    touched_at_random(row_bytes);
    raw->file_ = std::move(file);
    return raw;
  }
  raw->row_buffer_.resize(row_bytes.size());
  raw->id_buffer_.resize(id_bytes.size());
  if (rows > 0) {
    std::memcpy(raw->row_buffer_.data(), row_bytes.data(), row_bytes.size());
    std::memcpy(raw->id_buffer_.data(), id_bytes.data(), id_bytes.size());
  }
  raw->set_views();
  raw->row_of_.reserve(rows);
  for (uint32_t i = 0; i < rows; ++i)
    if (raw->ids_[i] < 0 || !raw->row_of_.set(raw->ids_[i], i))
      corrupt("section 'raw_ids' holds id " + std::to_string(raw->ids_[i]) + " twice, or it is below zero");
  return raw;
}

RawVectors::Saved::Saved(const RawVectors& raw) : lock_(raw.mutex_) {
  const size_t stride = raw.format_.stride(), rows = raw.size_ - raw.dead_rows_;
  head_ = {raw.format_.dim, static_cast<uint32_t>(raw.format_.type), rows};
  row_bytes_ = {raw.rows_, rows * stride};
  id_bytes_ = bytes_of(raw.ids_, rows * sizeof(int64_t));
  if (raw.dead_rows_ > 0) {
    rows_.resize(rows * stride);
    ids_.resize(rows * sizeof(int64_t));
    size_t to = 0;
    for (uint32_t i = 0; i < raw.size_; ++i) {
      if (view_of(raw.dead_)[i]) continue;
      std::memcpy(rows_.data() + to * stride, raw.row(i), stride);
      ids_.as<int64_t>()[to++] = raw.ids_[i];
    }
    row_bytes_ = {rows_.data(), rows_.size()};
    id_bytes_ = {ids_.data(), ids_.size()};
  }
  by_id_ = IdOrder::of({reinterpret_cast<const int64_t*>(id_bytes_.data()), rows});
  if (!by_id_.empty()) return;  // files hold the order of ascending ids, too
  by_id_.resize(rows);
  std::iota(by_id_.begin(), by_id_.end(), 0u);
}

void RawVectors::Saved::add_to(std::vector<Section>& sections) const {
  sections.push_back({"raw", bytes_of(&head_, sizeof head_)});
  sections.push_back({"raw_rows", row_bytes_});
  sections.push_back({"raw_ids", id_bytes_});
  sections.push_back({"raw_by_id", bytes_of(by_id_.data(), by_id_.size() * sizeof(uint32_t))});
}

}  // namespace bebr
