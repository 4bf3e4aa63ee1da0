#include "index/ivf/chunk.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "index/format_file.h"

namespace bebr {
namespace {

ChunkHead head_of(const ChunkRows& in) {
  ChunkHead head{in.first_row, in.rows, in.list_count, in.ids != nullptr ? 1u : 0u, 1, 0, 0, 0};
  if (in.ids == nullptr) {
    head.lowest = static_cast<int64_t>(in.first_row);
    head.highest = head.lowest + static_cast<int64_t>(in.rows) - 1;
    return head;
  }
  head.lowest = *std::min_element(in.ids, in.ids + in.rows);
  head.highest = *std::max_element(in.ids, in.ids + in.rows);
  for (size_t i = 1; i < in.rows; ++i)
    if (in.ids[i] <= in.ids[i - 1]) head.ascending = 0;
  return head;
}

}  // namespace

void write_chunk(const std::string& path, const RowFormat& format, const ChunkRows& in) {
  if (in.rows == 0 || in.rows > UINT32_MAX)
    fail(ErrorCode::InvalidArgument, "a chunk of " + std::to_string(in.rows) + " rows: want 1 to 2^32 - 1");
  check_factors(format, in.rows, in.factors);
  std::vector<uint32_t> counts(in.list_count), next(in.list_count);
  for (size_t i = 0; i < in.rows; ++i) {
    if (in.lists[i] >= in.list_count)
      fail(ErrorCode::InvalidArgument, "lists[" + std::to_string(i) + "] is " + std::to_string(in.lists[i]) +
                                           ": want below " + std::to_string(in.list_count));
    if (in.ids != nullptr && in.ids[i] < 0)
      fail(ErrorCode::InvalidArgument, "the id of row " + std::to_string(in.first_row + i) + " is " +
                                           std::to_string(in.ids[i]) + ": want ids >= 0");
    ++counts[in.lists[i]];
  }
  for (uint32_t l = 1; l < in.list_count; ++l) next[l] = next[l - 1] + counts[l - 1];
  std::vector<uint32_t> order(in.rows);
  for (size_t i = 0; i < in.rows; ++i) order[next[in.lists[i]]++] = static_cast<uint32_t>(i);

  // One column after the other through the same memory: a chunk is never held twice.
  const ChunkHead head = head_of(in);
  const FormatSections sections(format, in.rows);
  std::vector<Section> whole;
  sections.add_to(whole);
  whole.push_back({"chunk", bytes_of(&head, sizeof head)});
  whole.push_back({"counts", bytes_of(counts.data(), counts.size() * sizeof(uint32_t))});
  whole.push_back({"order", bytes_of(order.data(), order.size() * sizeof(uint32_t))});
  const struct {
    const char* name;
    const uint8_t* from;
    size_t width;
  } columns[] = {{"planes", in.planes, format.spec.row_bytes()},
                 {"factors", in.factors, format.factor_bytes()},
                 {"ids", reinterpret_cast<const uint8_t*>(in.ids), in.ids != nullptr ? sizeof(int64_t) : 0}};
  std::vector<FileWriter::Planned> planned;
  for (const Section& s : whole) planned.push_back({s.name, s.bytes.size()});
  for (const auto& c : columns) planned.push_back({c.name, in.rows * c.width});
  if (in.raw != nullptr) planned.push_back({"raw", in.rows * in.raw_bytes});
  FileWriter writer(path, "ivf-chunk", planned);
  for (const Section& s : whole) writer.append(s.name, s.bytes);
  constexpr size_t kRows = 1 << 16;
  std::vector<uint8_t> piece;
  for (const auto& c : columns) {
    for (size_t row = 0; row < in.rows && c.width > 0; row += kRows) {
      const size_t rows = std::min(kRows, in.rows - row);
      piece.resize(rows * c.width);
      for (size_t i = 0; i < rows; ++i)
        std::memcpy(piece.data() + i * c.width, c.from + order[row + i] * c.width, c.width);
      writer.append(c.name, piece);
    }
  }
  if (in.raw != nullptr) writer.append("raw", {in.raw, in.rows * in.raw_bytes});
  writer.finish();
}

Chunk Chunk::open(const std::string& path, const RowFormat& format, uint32_t lists, size_t raw_bytes) {
  Chunk chunk;
  chunk.file_ = File::open(path, "ivf-chunk", false);
  const File& file = *chunk.file_;
  uint64_t rows = 0;
  const RowFormat found = read_format(file, rows);
  chunk.head_ = read_struct<ChunkHead>(file, "chunk");
  if (!(found == format) || chunk.head_.lists != lists || chunk.head_.rows != rows || rows == 0)
    fail(ErrorCode::Corrupt, path + ": holds rows of another build (" + std::to_string(chunk.head_.lists) + " lists, " +
                                 std::to_string(rows) + " rows)");
  expect_size(file, "counts", uint64_t{lists} * sizeof(uint32_t));
  expect_size(file, "order", rows * sizeof(uint32_t));
  expect_size(file, "planes", rows * format.spec.row_bytes());
  expect_size(file, "factors", rows * format.factor_bytes());
  expect_size(file, "ids", chunk.head_.own_ids == 1 ? rows * sizeof(int64_t) : 0);
  chunk.counts_ = {reinterpret_cast<const uint32_t*>(file.section("counts").data()), lists};
  chunk.order_ = {reinterpret_cast<const uint32_t*>(file.section("order").data()), rows};
  chunk.planes_ = file.section("planes").data();
  chunk.factors_ = file.section("factors").data();
  if (chunk.head_.own_ids == 1) chunk.ids_ = reinterpret_cast<const int64_t*>(file.section("ids").data());
  if (raw_bytes > 0) {
    expect_size(file, "raw", rows * raw_bytes);
    chunk.raw_ = file.section("raw");
  }
  uint64_t counted = 0;
  for (const uint32_t c : chunk.counts_) counted += c;
  if (counted != rows)
    fail(ErrorCode::Corrupt,
         path + ": section 'counts' adds up to " + std::to_string(counted) + ": want " + std::to_string(rows));
  return chunk;
}

void Chunk::release() const {
  for (const std::string& name : file_->names()) file_->release(file_->section(name));
}

void Chunk::expect(const char* section, uint32_t crc) const {
  if (file_->checksum(section) != crc)
    fail(ErrorCode::Corrupt, file_->path() + ": section '" + section +
                                 "' is not as it was written: delete the file and " +
                                 "build again, which makes this chunk anew");
}

void Chunk::verify_places() const {
  for (const char* section : {"chunk", "counts", "order", "ids"}) expect(section, crc32c(file_->section(section)));
  for (const uint32_t position : order_)
    if (position >= head_.rows)
      fail(ErrorCode::Corrupt, file_->path() + ": section 'order' names a row that is not there");
}

}  // namespace bebr
