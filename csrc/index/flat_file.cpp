// Save and open of FlatIndex. Sections: spec (fixed struct below), blocks, rest, factors, stage, ids and, where a
// factor is one byte, bytecode (below); a caller's own sections (the model) follow and are left alone.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <type_traits>

#include "base/error.h"
#include "index/flat.h"

namespace bebr {
namespace {

struct SpecSection {
  uint32_t planes;
  uint32_t widths[kMaxPlanes];
  uint32_t factor;
  uint32_t stage_factor;
  uint32_t factor_bytes;  // 0 in files of version 1: 2
  uint64_t rows;
};
static_assert(std::is_trivially_copyable_v<SpecSection> && sizeof(SpecSection) == 56);

// What factors of one byte stand for.
struct ByteCodeSection {
  uint16_t low, step, stage_low, stage_step;
};
static_assert(std::is_trivially_copyable_v<ByteCodeSection> && sizeof(ByteCodeSection) == 8);

void expect_size(const File& file, const char* name, uint64_t want) {
  const uint64_t found = file.section(name).size();
  if (found != want)
    fail(Code::Corrupt, file.path() + ": section '" + name + "' has " + std::to_string(found) + " bytes: want " +
                            std::to_string(want));
}

template <typename Struct>
Struct read_struct(const File& file, const char* name) {
  expect_size(file, name, sizeof(Struct));
  Struct s;
  std::memcpy(&s, file.section(name).data(), sizeof s);
  return s;
}

RowFormat read_format(const File& file, uint64_t& rows) {
  const auto s = read_struct<SpecSection>(file, "spec");
  if (s.planes < 1 || s.planes > kMaxPlanes || s.factor > 2 || s.stage_factor > 1 || s.rows > UINT32_MAX - kBlockRows)
    fail(Code::Corrupt, file.path() + ": section 'spec' names " + std::to_string(s.planes) + " planes, factor " +
                            std::to_string(s.factor) + ", " + std::to_string(s.rows) + " rows");
  rows = s.rows;
  try {
    const uint32_t width = s.factor_bytes == 0 ? 2 : s.factor_bytes;
    const ByteCodeSection code = width == 1 ? read_struct<ByteCodeSection>(file, "bytecode") : ByteCodeSection{};
    return {CodeSpec::make({s.widths, s.planes}), static_cast<Factor>(s.factor), s.stage_factor == 1,
            FactorCode::make(width, code.low, code.step), FactorCode::make(width, code.stage_low, code.stage_step)};
  } catch (const Error& e) {
    if (e.code() == Code::Corrupt) throw;
    fail(Code::Corrupt, file.path() + ": section 'spec': " + e.what());
  }
}

}  // namespace

std::unique_ptr<FlatIndex> FlatIndex::open(std::shared_ptr<const File> file, bool map) {
  uint64_t rows = 0;
  auto index = std::make_unique<FlatIndex>(read_format(*file, rows));
  const CodeSpec& spec = index->format_.spec;
  const uint64_t width = index->format_.code.bytes;
  expect_size(*file, "blocks", block_count(rows) * block_bytes(spec));
  expect_size(*file, "rest", rows * spec.rest_bytes());
  expect_size(*file, "factors", index->format_.factor == Factor::None ? 0 : rows * width);
  expect_size(*file, "stage", index->format_.stage_factor ? rows * width : 0);
  expect_size(*file, "ids", rows * 8);
  const auto bytes = [&](const char* name) {
    const std::span<const uint8_t> section = file->section(name);
    return section.empty() ? nullptr : section.data();
  };
  const RowView view = {bytes("blocks"),
                        bytes("rest"),
                        bytes("factors"),
                        bytes("stage"),
                        reinterpret_cast<const int64_t*>(bytes("ids")),
                        rows};
  if (map) {
    index->mapped_ = view;
    index->file_ = std::move(file);
  } else {
    index->store_.assign(index->format_, view);
  }
  return index;
}

bool FlatIndex::owns_section(std::string_view name) {
  constexpr std::string_view kOwn[] = {"spec", "bytecode", "blocks", "rest", "factors", "stage", "ids"};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn);
}

void FlatIndex::save(const std::string& path, std::span<const Section> extra) const {
  std::shared_lock lock(mutex_);
  if (dead_ > 0) {
    // Marked rows are not written: they go through a fresh index.
    lock.unlock();
    const Rows live = this->rows();
    FlatIndex fresh(format_);
    fresh.add(live.ids.size(), live.planes.data(), live.factors.data(), live.ids.data());
    fresh.save(path, extra);
    return;
  }
  SpecSection spec{};
  spec.planes = format_.spec.planes;
  std::memcpy(spec.widths, format_.spec.widths, sizeof spec.widths);
  spec.factor = static_cast<uint32_t>(format_.factor);
  spec.stage_factor = format_.stage_factor ? 1 : 0;
  spec.factor_bytes = format_.code.bytes;
  const RowView& rows = view();
  spec.rows = rows.rows;
  const ByteCodeSection code = {format_.code.low, format_.code.step, format_.stage_code.low, format_.stage_code.step};
  const size_t width = format_.code.bytes;
  auto bytes = [](const void* p, size_t n) { return std::span(static_cast<const uint8_t*>(p), n); };
  std::vector<Section> sections = {
      {"spec", bytes(&spec, sizeof spec)},
      {"blocks", bytes(rows.blocks, block_count(rows.rows) * block_bytes(format_.spec))},
      {"rest", bytes(rows.rest, rows.rows * format_.spec.rest_bytes())},
      {"factors", bytes(rows.factors, rows.factors != nullptr ? rows.rows * width : 0)},
      {"stage", bytes(rows.stage_factors, rows.stage_factors != nullptr ? rows.rows * width : 0)},
      {"ids", bytes(rows.ids, rows.rows * 8)},
  };
  if (width == 1) sections.push_back({"bytecode", bytes(&code, sizeof code)});
  sections.insert(sections.end(), extra.begin(), extra.end());
  write_file(path, "flat", sections);
}

}  // namespace bebr
