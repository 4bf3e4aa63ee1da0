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

inline constexpr uint32_t kFileVersion = 2;  // 2: factors of 1, 2 or 4 bytes; 3: a graph's `inlined`, only with that

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t seed = 0);

struct Section {
  std::string name;  // at most 15 bytes
  std::span<const uint8_t> bytes;
};

// Writes to a temporary name beside `path`, fsyncs, renames, fsyncs the folder: a reader sees the old file or the new
// one.
void write_file(const std::string& path, std::string_view kind, std::span<const Section> sections);

// The same for a file larger than memory: the sizes of its sections are known first, their bytes come in pieces, in
// order within a section and in any order across sections. Without finish() nothing is left.
class FileWriter {
 public:
  struct Planned {
    std::string name;
    uint64_t size;
  };
  FileWriter(const std::string& path, std::string_view kind, std::span<const Planned> sections);
  // The next bytes of a section. Throws Error(InvalidArgument) where they are more than it was planned with.
  void append(std::string_view section, std::span<const uint8_t> bytes);
  // Throws Error(InvalidArgument) naming a section that is not full.
  void finish();
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

 private:
  struct Entry {
    Planned planned;
    uint64_t offset, written;
    uint32_t crc;
  };
  std::string path_, temporary_, kind_;
  std::vector<Entry> entries_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

// A mapped file. Throws Error(Corrupt) naming path, section, expected and found; Error(NotFound) when there is no such
// file.
class File {
 public:
  // kind: what it must hold; empty: anything.
  static std::shared_ptr<const File> open(const std::string& path, std::string_view kind, bool verify_contents);

  bool has(std::string_view section) const;
  std::span<const uint8_t> section(std::string_view name) const;  // throws Corrupt if absent
  std::vector<std::string> names() const;
  const std::string& path() const { return path_; }
  const std::string& kind() const { return kind_; }
  void verify() const;
  uint32_t checksum(std::string_view name) const;  // of a section as it was written; throws Corrupt if absent
  uint64_t offset(std::string_view name) const;    // of a section in the file; the same
  [[noreturn]] void fail_checksum(std::string_view name, uint32_t found) const;
  // Gives the whole pages among these bytes of a section back: they are read again from disk when next touched.
  void release(std::span<const uint8_t> bytes) const;
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
  const Entry& entry(std::string_view name) const;
  std::string path_, kind_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace bebr
