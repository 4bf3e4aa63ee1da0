#include "index/format_file.h"

#include <cmath>

#include "base/error.h"

namespace bebr {

StoredSpec stored_spec(const RowFormat& format) {
  StoredSpec stored{};
  stored.planes = format.spec.planes;
  std::memcpy(stored.widths, format.spec.widths, sizeof stored.widths);
  stored.factor = static_cast<uint32_t>(format.factor);
  stored.stage_factor = format.stage_factor ? 1 : 0;
  stored.factor_bytes = format.code.bytes;
  return stored;
}

StoredCode stored_code(const RowFormat& format) {
  return {format.code.low, format.code.step, format.stage_code.low, format.stage_code.step};
}

RowFormat format_of(const File& file, const char* section, const StoredSpec& spec, const StoredCode& code) {
  const std::string where = file.path() + ": section '" + section + "'";
  if (spec.planes < 1 || spec.planes > kMaxPlanes || spec.factor > 2 || spec.stage_factor > 1)
    fail(ErrorCode::Corrupt, where + " names " + std::to_string(spec.planes) + " planes, factor " +
                                 std::to_string(spec.factor) + ", stage factor " + std::to_string(spec.stage_factor));
  try {
    const uint32_t bytes = spec.factor_bytes == 0 ? 2 : spec.factor_bytes;
    return {CodeSpec::make({spec.widths, spec.planes}), static_cast<Factor>(spec.factor), spec.stage_factor == 1,
            FactorCode::make(bytes, code.low, code.step), FactorCode::make(bytes, code.stage_low, code.stage_step)};
  } catch (const Error& e) {
    fail(ErrorCode::Corrupt, where + ": " + e.what());
  }
}

void FormatSections::add_to(std::vector<Section>& sections) const {
  static_assert(sizeof(Spec) == 56 && sizeof(StoredCode) == 8);
  sections.push_back({"spec", bytes_of(&spec_, sizeof spec_)});
  if (spec_.format.factor_bytes == 1) sections.push_back({"bytecode", bytes_of(&code_, sizeof code_)});
}

void expect_size(const File& file, const char* name, uint64_t want) {
  const uint64_t found = file.section(name).size();
  if (found != want)
    fail(ErrorCode::Corrupt, file.path() + ": section '" + name + "' has " + std::to_string(found) + " bytes: want " +
                                 std::to_string(want));
}

RowFormat read_format(const File& file, uint64_t& rows) {
  const auto spec = read_struct<FormatSections::Spec>(file, "spec");
  if (spec.rows > kMostSlots)
    fail(ErrorCode::Corrupt, file.path() + ": section 'spec' names " + std::to_string(spec.rows) + " rows");
  rows = spec.rows;
  const bool coded = spec.format.factor_bytes == 1;
  return format_of(file, "spec", spec.format, coded ? read_struct<StoredCode>(file, "bytecode") : StoredCode{});
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
