#include "index/format_file.h"

#include <cmath>

#include "base/error.h"

namespace bebr {

FormatSections::FormatSections(const RowFormat& format, uint64_t rows) {
  static_assert(sizeof(Spec) == 56 && sizeof(ByteCode) == 8);
  spec_.planes = format.spec.planes;
  std::memcpy(spec_.widths, format.spec.widths, sizeof spec_.widths);
  spec_.factor = static_cast<uint32_t>(format.factor);
  spec_.stage_factor = format.stage_factor ? 1 : 0;
  spec_.factor_bytes = format.code.bytes;
  spec_.rows = rows;
  bytecode_ = {format.code.low, format.code.step, format.stage_code.low, format.stage_code.step};
}

void FormatSections::add_to(std::vector<Section>& sections) const {
  sections.push_back({"spec", bytes_of(&spec_, sizeof spec_)});
  if (spec_.factor_bytes == 1) sections.push_back({"bytecode", bytes_of(&bytecode_, sizeof bytecode_)});
}

void expect_size(const File& file, const char* name, uint64_t want) {
  const uint64_t found = file.section(name).size();
  if (found != want)
    fail(ErrorCode::Corrupt, file.path() + ": section '" + name + "' has " + std::to_string(found) + " bytes: want " +
                                 std::to_string(want));
}

RowFormat read_format(const File& file, uint64_t& rows) {
  const auto s = read_struct<FormatSections::Spec>(file, "spec");
  if (s.planes < 1 || s.planes > kMaxPlanes || s.factor > 2 || s.stage_factor > 1 || s.rows > kMostSlots)
    fail(ErrorCode::Corrupt, file.path() + ": section 'spec' names " + std::to_string(s.planes) + " planes, factor " +
                                 std::to_string(s.factor) + ", " + std::to_string(s.rows) + " rows");
  rows = s.rows;
  try {
    const uint32_t width = s.factor_bytes == 0 ? 2 : s.factor_bytes;
    const auto code = width == 1 ? read_struct<FormatSections::ByteCode>(file, "bytecode") : FormatSections::ByteCode{};
    return {CodeSpec::make({s.widths, s.planes}), static_cast<Factor>(s.factor), s.stage_factor == 1,
            FactorCode::make(width, code.low, code.step), FactorCode::make(width, code.stage_low, code.stage_step)};
  } catch (const Error& e) {
    if (e.code() == ErrorCode::Corrupt) throw;
    fail(ErrorCode::Corrupt, file.path() + ": section 'spec': " + e.what());
  }
}

std::vector<float> read_floats(const File& file, const char* name, uint64_t count) {
  expect_size(file, name, count * sizeof(float));
  std::vector<float> values(count);
  if (count > 0) std::memcpy(values.data(), file.section(name).data(), count * sizeof(float));
  for (const float value : values)
    if (!std::isfinite(value))
      fail(ErrorCode::Corrupt, file.path() + ": section '" + name + "' holds " + std::to_string(value));
  return values;
}

RowView read_rows(const File& file, const RowFormat& format, uint64_t rows) {
  const uint64_t width = format.code.bytes;
  expect_size(file, "blocks", block_count(rows) * block_bytes(format.spec));
  expect_size(file, "rest", rows * format.spec.rest_bytes());
  expect_size(file, "factors", format.factor == Factor::None ? 0 : rows * width);
  expect_size(file, "stage", format.stage_factor ? rows * width : 0);
  expect_size(file, "ids", rows * 8);
  const auto bytes = [&](const char* name) {
    const std::span<const uint8_t> section = file.section(name);
    return section.empty() ? nullptr : section.data();
  };
  return {bytes("blocks"),
          bytes("rest"),
          bytes("factors"),
          bytes("stage"),
          reinterpret_cast<const int64_t*>(bytes("ids")),
          rows};
}

void add_rows(const RowFormat& format, const RowView& view, std::vector<Section>& sections) {
  const size_t width = format.code.bytes, rows = view.rows;
  sections.push_back({"blocks", bytes_of(view.blocks, block_count(rows) * block_bytes(format.spec))});
  sections.push_back({"rest", bytes_of(view.rest, rows * format.spec.rest_bytes())});
  sections.push_back({"factors", bytes_of(view.factors, view.factors != nullptr ? rows * width : 0)});
  sections.push_back({"stage", bytes_of(view.stage_factors, view.stage_factors != nullptr ? rows * width : 0)});
  sections.push_back({"ids", bytes_of(view.ids, rows * 8)});
}

}  // namespace bebr
