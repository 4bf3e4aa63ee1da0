// The sectioned, checksummed file that every index and segment is written as.
//
//   0   8   magic "BEBRFILE"
//   8   4   format version (kFileVersion)      12  4   number of sections
//   16  16  kind, e.g. "flat", zero-padded     32  8   size of the whole file
//   40  4   CRC-32C of the section table       44  4   CRC-32C of bytes 0..43
//   48  ..  section table: {char name[16]; u64 offset; u64 size; u32 crc; u32 zero} each
// Sections start at multiples of 64. All integers little-endian. A reader checks header, table, kind and every size
// before it touches a section; contents are checked on read (all of them) or, for a mapped file, by verify().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bebr {

inline constexpr uint32_t kFileVersion = 2;  // 2: factors of 1, 2 or 4 bytes

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t seed = 0);

struct Section {
  std::string name;  // at most 15 bytes
  std::span<const uint8_t> bytes;
};

// Writes to a temporary name beside `path`, fsyncs, renames, fsyncs the folder: a reader sees the old file or the new
// one.
void write_file(const std::string& path, std::string_view kind, std::span<const Section> sections);

// A mapped file. Throws Error(Corrupt) naming path, section, expected and found; Error(NotFound) when there is no such
// file.
class File {
 public:
  // kind: what it must hold; empty: anything.
  static std::shared_ptr<const File> open(const std::string& path, std::string_view kind, bool verify_contents);

  std::span<const uint8_t> section(std::string_view name) const;  // throws Corrupt if absent
  std::vector<std::string> names() const;
  const std::string& path() const { return path_; }
  const std::string& kind() const { return kind_; }
  void verify() const;
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

 private:
  struct Entry {
    std::string name;
    uint64_t offset, size;
    uint32_t crc;
  };
  File() = default;
  std::string path_, kind_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace bebr
