// What index files share: the sections `spec` and `bytecode`, which say what a stored vector is, and checks of sizes.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/file.h"
#include "index/rows.h"

namespace bebr {

// A format as files hold it; `code` only counts where factors take one byte.
struct StoredSpec {
  uint32_t planes, widths[kMaxPlanes];
  uint32_t factor, stage_factor;
  uint32_t factor_bytes;  // 0 in files of version 1: 2
};
struct StoredCode {
  uint16_t low, step, stage_low, stage_step;
};
StoredSpec stored_spec(const RowFormat& format);
StoredCode stored_code(const RowFormat& format);
// Throws Error(Corrupt) naming the file and the section.
RowFormat format_of(const File& file, const char* section, const StoredSpec& spec, const StoredCode& code);

// The two sections in the form they have on disk; rows: rows stored, padding included.
class FormatSections {
 public:
  FormatSections(const RowFormat& format, uint64_t rows)
      : spec_{stored_spec(format), rows}, code_(stored_code(format)) {}
  void add_to(std::vector<Section>& sections) const;  // spans of this object

 private:
  struct Spec {
    StoredSpec format;
    uint64_t rows;
  } spec_;
  StoredCode code_;
  friend RowFormat read_format(const File& file, uint64_t& rows);
};

// Throws Error(Corrupt) naming the file and the section.
RowFormat read_format(const File& file, uint64_t& rows);
void expect_size(const File& file, const char* name, uint64_t want);

template <typename Struct>
Struct read_struct(const File& file, const char* name) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  expect_size(file, name, sizeof(Struct));
  Struct s;
  std::memcpy(&s, file.section(name).data(), sizeof s);
  return s;
}

// `count` finite floats.
std::vector<float> read_floats(const File& file, const char* name, uint64_t count);

inline constexpr uint64_t kMostSlots = UINT32_MAX - kBlockRows;  // rows of a file, padding included
// Sections blocks, rest, factors, stage, ids: the rows of a view, checked in size against the format.
RowView read_rows(const File& file, const RowFormat& format, uint64_t rows);
void add_rows(const RowFormat& format, const RowView& view, std::vector<Section>& sections);

inline std::span<const uint8_t> bytes_of(const void* p, size_t n) { return {static_cast<const uint8_t*>(p), n}; }

}  // namespace bebr
