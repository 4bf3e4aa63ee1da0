#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/buffer.h"
#include "base/error.h"

namespace bebr {
namespace {

static_assert(std::endian::native == std::endian::little, "the file format is little-endian and read in place");

constexpr char kMagic[8] = {'B', 'E', 'B', 'R', 'F', 'I', 'L', 'E'};
constexpr size_t kHeader = 48, kEntry = 40, kName = 16, kMaxSections = 256;

// Slicing by 8: eight table lookups retire eight bytes.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ 0x82F63B78u : c >> 1;
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; ++i)
    for (size_t s = 1; s < 8; ++s) t[s][i] = (t[s - 1][i] >> 8) ^ t[0][t[s - 1][i] & 255];
  return t;
}();

template <typename T>
void store(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

template <typename T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::string hex(uint32_t v) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", v);
  return text;
}

[[noreturn]] void fail_io(const std::string& what, const std::string& path) {
  fail(errno == ENOENT ? Code::NotFound : Code::Io, what + " " + path + ": " + std::strerror(errno));
}

// A descriptor that closes itself.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void write_all(int fd, const uint8_t* data, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, std::min<size_t>(size, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      if (errno == ENOSPC || errno == EDQUOT) fail(Code::LimitExceeded, "no space left to write " + path);
      fail_io("cannot write", path);
    }
    data += n;
    size -= static_cast<size_t>(n);
  }
}

// The temporary file goes away unless the rename succeeded.
struct Temporary {
  std::string path;
  bool keep = false;
  ~Temporary() {
    if (!keep) ::unlink(path.c_str());
  }
};

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t seed) {
  uint32_t c = ~seed;
  const uint8_t* p = bytes.data();
  size_t n = bytes.size();
  for (; n >= 8; n -= 8, p += 8) {
    const uint64_t w = load<uint64_t>(p) ^ c;
    c = kTables[7][w & 255] ^ kTables[6][w >> 8 & 255] ^ kTables[5][w >> 16 & 255] ^ kTables[4][w >> 24 & 255] ^
        kTables[3][w >> 32 & 255] ^ kTables[2][w >> 40 & 255] ^ kTables[1][w >> 48 & 255] ^ kTables[0][w >> 56];
  }
  for (; n > 0; --n, ++p) c = (c >> 8) ^ kTables[0][(c ^ *p) & 255];
  return ~c;
}

void write_file(const std::string& path, std::string_view kind, std::span<const Section> sections) {
  if (sections.size() > kMaxSections || kind.size() >= kName)
    fail(Code::InvalidArgument, "too many sections, or too long a kind");
  std::vector<uint8_t> head(kHeader + kEntry * sections.size(), 0);
  uint64_t offset = round_up(head.size(), kAlignment);
  for (size_t i = 0; i < sections.size(); ++i) {
    const Section& s = sections[i];
    if (s.name.empty() || s.name.size() >= kName)
      fail(Code::InvalidArgument, "section name '" + s.name + "': want 1 to 15 bytes");
    uint8_t* entry = head.data() + kHeader + kEntry * i;
    std::memcpy(entry, s.name.data(), s.name.size());
    store<uint64_t>(entry + 16, offset);
    store<uint64_t>(entry + 24, s.bytes.size());
    store<uint32_t>(entry + 32, crc32c(s.bytes));
    offset = round_up(offset + s.bytes.size(), kAlignment);
  }
  std::memcpy(head.data(), kMagic, sizeof kMagic);
  store<uint32_t>(head.data() + 8, kFileVersion);
  store<uint32_t>(head.data() + 12, static_cast<uint32_t>(sections.size()));
  std::memcpy(head.data() + 16, kind.data(), kind.size());
  store<uint64_t>(head.data() + 32, offset);
  store<uint32_t>(head.data() + 40, crc32c(std::span(head).subspan(kHeader)));
  store<uint32_t>(head.data() + 44, crc32c(std::span(head).first(44)));

  Temporary temporary{path + ".tmp" + std::to_string(::getpid())};
  {
    Descriptor out{::open(temporary.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (out.fd < 0) fail_io("cannot create", temporary.path);
    constexpr uint8_t kZeros[kAlignment] = {};
    auto put = [&](std::span<const uint8_t> bytes) {
      write_all(out.fd, bytes.data(), bytes.size(), path);
      write_all(out.fd, kZeros, round_up(bytes.size(), kAlignment) - bytes.size(), path);
    };
    put(head);
    for (const Section& s : sections) put(s.bytes);
    if (::fsync(out.fd) != 0) fail_io("cannot sync", temporary.path);
  }
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) fail_io("cannot rename to", path);
  temporary.keep = true;
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Descriptor dir{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (dir.fd < 0 || ::fsync(dir.fd) != 0) fail_io("cannot sync folder", folder);
}

std::shared_ptr<const File> File::open(const std::string& path, std::string_view kind, bool verify_contents) {
  std::shared_ptr<File> file(new File);
  file->path_ = path;
  Descriptor in{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (in.fd < 0) fail_io("cannot open", path);
  struct stat info{};
  if (::fstat(in.fd, &info) != 0) fail_io("cannot stat", path);
  if (!S_ISREG(info.st_mode)) fail(Code::Corrupt, path + " is not a regular file");
  auto corrupt = [&path](const std::string& why) { fail(Code::Corrupt, path + ": " + why); };
  const size_t size = static_cast<size_t>(info.st_size);
  if (size < kHeader) corrupt("the header needs 48 bytes, the file has " + std::to_string(size));
  void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, in.fd, 0);
  if (map == MAP_FAILED) fail_io("cannot map", path);
  file->data_ = static_cast<const uint8_t*>(map);
  file->size_ = size;
  const uint8_t* head = file->data_;

  if (std::memcmp(head, kMagic, sizeof kMagic) != 0) corrupt("not a bebr file (its first 8 bytes are not BEBRFILE)");
  const uint32_t version = load<uint32_t>(head + 8), count = load<uint32_t>(head + 12);
  if (version > kFileVersion)
    corrupt("format version " + std::to_string(version) + " is newer than this build reads (" +
            std::to_string(kFileVersion) + "): update bebr");
  const uint32_t expected = load<uint32_t>(head + 44), found = crc32c({head, 44});
  if (expected != found) corrupt("header: checksum expected " + hex(expected) + ", found " + hex(found));
  if (version == 0) corrupt("format version 0");
  if (load<uint64_t>(head + 32) != size)
    corrupt("the header says " + std::to_string(load<uint64_t>(head + 32)) + " bytes, the file has " +
            std::to_string(size) + " (truncated?)");
  if (count > kMaxSections || kHeader + kEntry * count > size)
    corrupt("section table of " + std::to_string(count) + " entries does not fit");
  const uint32_t table_expected = load<uint32_t>(head + 40), table_found = crc32c({head + kHeader, kEntry * count});
  if (table_expected != table_found)
    corrupt("section table: checksum expected " + hex(table_expected) + ", found " + hex(table_found));
  const std::string found_kind(reinterpret_cast<const char*>(head + 16),
                               ::strnlen(reinterpret_cast<const char*>(head + 16), kName));
  file->kind_ = found_kind;
  if (!kind.empty() && found_kind != kind) corrupt("holds a '" + found_kind + "': want a '" + std::string(kind) + "'");
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* e = head + kHeader + kEntry * i;
    const char* name = reinterpret_cast<const char*>(e);
    Entry entry{std::string(name, ::strnlen(name, kName)), load<uint64_t>(e + 16), load<uint64_t>(e + 24),
                load<uint32_t>(e + 32)};
    if (entry.offset % kAlignment != 0 || entry.offset > size || entry.size > size - entry.offset)
      corrupt("section '" + entry.name + "' lies outside the file");
    file->entries_.push_back(std::move(entry));
  }
  if (verify_contents) file->verify();
  return file;
}

void File::verify() const {
  for (const Entry& e : entries_) {
    const uint32_t found = crc32c({data_ + e.offset, e.size});
    if (found != e.crc)
      fail(Code::Corrupt,
           path_ + ": section '" + e.name + "': checksum expected " + hex(e.crc) + ", found " + hex(found));
  }
}

std::span<const uint8_t> File::section(std::string_view name) const {
  for (const Entry& e : entries_)
    if (e.name == name) return {data_ + e.offset, e.size};
  fail(Code::Corrupt, path_ + ": section '" + std::string(name) + "' is missing");
}

std::vector<std::string> File::names() const {
  std::vector<std::string> names;
  for (const Entry& e : entries_) names.push_back(e.name);
  return names;
}

File::~File() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace bebr
