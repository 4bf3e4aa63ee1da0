#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <utility>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/error.h"

namespace bebr {
namespace {

static_assert(std::endian::native == std::endian::little, "the file format is little-endian and read in place");

constexpr char kMagic[8] = {'B', 'E', 'B', 'R', 'F', 'I', 'L', 'E'};
constexpr size_t kHeader = 48, kEntry = 40, kName = 16, kMaxSections = 256;

// Sections that software of an earlier version would pass over and then misread the others: files with one have the
// version that brought it, all others one that older software knows too.
constexpr uint32_t kNewestVersion = 3;
constexpr std::pair<std::string_view, uint32_t> kSince[] = {{"inlined", 3}};  // records of a graph are laid out anew

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

// What the system says where it has no more to give: disk, size of a file, open files, memory.
bool exhausted(int number) {
  return number == ENOSPC || number == EDQUOT || number == EFBIG || number == EMFILE || number == ENFILE ||
         number == ENOMEM;
}

[[noreturn]] void fail_io(const std::string& what, const std::string& path) {
  const ErrorCode code = errno == ENOENT    ? ErrorCode::NotFound
                         : exhausted(errno) ? ErrorCode::LimitExceeded
                                            : ErrorCode::Io;
  fail(code, what + " " + path + ": " + std::strerror(errno));
}

std::string random_name() {
  std::random_device device;
  return hex(device()) + hex(device());
}

// A descriptor that closes itself.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void write_all(int fd, std::span<const uint8_t> bytes, uint64_t offset, const std::string& path) {
  const uint8_t* data = bytes.data();
  size_t size = bytes.size();
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, data, std::min<size_t>(size, size_t{1} << 30), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io("cannot write", path);
    data += n;
    size -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
}

// The system would end it there.
void check_name(const std::string& path) {
  if (path.find('\0') != std::string::npos) fail(ErrorCode::InvalidArgument, "a path holds a zero byte");
}

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t seed) { return crc32c_by(chosen_isa(), bytes, seed); }

FileWriter::FileWriter(const std::string& path, std::string_view kind, std::span<const Planned> sections)
    : path_(path), kind_(kind) {
  if (sections.size() > kMaxSections || kind.size() >= kName)
    fail(ErrorCode::InvalidArgument, "too many sections, or too long a kind");
  uint64_t offset = round_up(kHeader + kEntry * sections.size(), kAlignment);
  for (const Planned& s : sections) {
    if (s.name.empty() || s.name.size() >= kName)
      fail(ErrorCode::InvalidArgument, "section name '" + s.name + "': want 1 to 15 bytes");
    entries_.push_back({s, offset, 0, 0});
    offset = round_up(offset + s.size, kAlignment);
  }
  size_ = offset;
  check_name(path);
  struct stat there;
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode))
    fail(ErrorCode::InvalidArgument, path + " is no regular file: want another path");  // /dev/null would be one
  // Nobody else's: another thread, process or container may write the same path now.
  do {
    temporary_ = path + ".tmp" + random_name();
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) fail_io("cannot create", temporary_);
}

void FileWriter::append(std::string_view section, std::span<const uint8_t> bytes) {
  for (Entry& e : entries_) {
    if (e.planned.name != section) continue;
    if (bytes.size() > e.planned.size - e.written)
      fail(ErrorCode::InvalidArgument, path_ + ": section '" + e.planned.name + "' was planned with " +
                                           std::to_string(e.planned.size) + " bytes: got " +
                                           std::to_string(e.written + bytes.size()));
    write_all(fd_, bytes, e.offset + e.written, path_);
    e.written += bytes.size();
    e.crc = crc32c(bytes, e.crc);
    return;
  }
  fail(ErrorCode::InvalidArgument, path_ + ": section '" + std::string(section) + "' was not planned");
}

void FileWriter::finish() {
  std::vector<uint8_t> head(kHeader + kEntry * entries_.size(), 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    if (e.written != e.planned.size)
      fail(ErrorCode::InvalidArgument, path_ + ": section '" + e.planned.name + "' was planned with " +
                                           std::to_string(e.planned.size) + " bytes: got " + std::to_string(e.written));
    uint8_t* entry = head.data() + kHeader + kEntry * i;
    std::memcpy(entry, e.planned.name.data(), e.planned.name.size());
    store<uint64_t>(entry + 16, e.offset);
    store<uint64_t>(entry + 24, e.planned.size);
    store<uint32_t>(entry + 32, e.crc);
  }
  std::memcpy(head.data(), kMagic, sizeof kMagic);
  uint32_t version = kFileVersion;
  for (const auto& [section, since] : kSince)
    for (const Entry& e : entries_)
      if (e.planned.name == section) version = std::max(version, since);
  store<uint32_t>(head.data() + 8, version);
  store<uint32_t>(head.data() + 12, static_cast<uint32_t>(entries_.size()));
  std::memcpy(head.data() + 16, kind_.data(), kind_.size());
  store<uint64_t>(head.data() + 32, size_);
  store<uint32_t>(head.data() + 40, crc32c(std::span(head).subspan(kHeader)));
  store<uint32_t>(head.data() + 44, crc32c(std::span(head).first(44)));
  // The space between sections reads as zeros.
  if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0) fail_io("cannot size", temporary_);
  write_all(fd_, head, 0, path_);
  if (::fsync(fd_) != 0) fail_io("cannot sync", temporary_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_io("cannot rename to", path_);
  ::close(std::exchange(fd_, -1));
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  Descriptor dir{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (dir.fd < 0 || ::fsync(dir.fd) != 0) fail_io("cannot sync folder", folder);
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void write_file(const std::string& path, std::string_view kind, std::span<const Section> sections) {
  std::vector<FileWriter::Planned> planned;
  for (const Section& s : sections) planned.push_back({s.name, s.bytes.size()});
  FileWriter writer(path, kind, planned);
  for (const Section& s : sections) writer.append(s.name, s.bytes);
  writer.finish();
}

std::shared_ptr<const File> File::open(const std::string& path, std::string_view kind, bool verify_contents) {
  std::shared_ptr<File> file(new File);
  file->path_ = path;
  check_name(path);
  Descriptor in{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (in.fd < 0) fail_io("cannot open", path);
  struct stat info{};
  if (::fstat(in.fd, &info) != 0) fail_io("cannot stat", path);
  if (!S_ISREG(info.st_mode)) fail(ErrorCode::Corrupt, path + " is not a regular file");
  auto corrupt = [&path](const std::string& why) { fail(ErrorCode::Corrupt, path + ": " + why); };
  const size_t size = static_cast<size_t>(info.st_size);
  if (size < kHeader) corrupt("the header needs 48 bytes, the file has " + std::to_string(size));
  void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, in.fd, 0);
  if (map == MAP_FAILED) fail_io("cannot map", path);
  file->data_ = static_cast<const uint8_t*>(map);
  file->size_ = size;
  const uint8_t* head = file->data_;

  if (std::memcmp(head, kMagic, sizeof kMagic) != 0) corrupt("not a bebr file (its first 8 bytes are not BEBRFILE)");
  const uint32_t version = load<uint32_t>(head + 8), count = load<uint32_t>(head + 12);
  if (version > kNewestVersion)
    corrupt("format version " + std::to_string(version) + " is newer than this build reads (" +
            std::to_string(kNewestVersion) + "): update bebr");
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
    if (found != e.crc) fail_checksum(e.name, found);
  }
}

void File::fail_checksum(std::string_view name, uint32_t found) const {
  const Entry& e = entry(name);
  fail(ErrorCode::Corrupt,
       path_ + ": section '" + e.name + "': checksum expected " + hex(e.crc) + ", found " + hex(found));
}

bool File::has(std::string_view section) const {
  return std::any_of(entries_.begin(), entries_.end(), [section](const Entry& e) { return e.name == section; });
}

const File::Entry& File::entry(std::string_view name) const {
  for (const Entry& e : entries_)
    if (e.name == name) return e;
  fail(ErrorCode::Corrupt, path_ + ": section '" + std::string(name) + "' is missing");
}

std::span<const uint8_t> File::section(std::string_view name) const {
  const Entry& e = entry(name);
  return {data_ + e.offset, e.size};
}

uint32_t File::checksum(std::string_view name) const { return entry(name).crc; }

uint64_t File::offset(std::string_view name) const { return entry(name).offset; }

void File::release(std::span<const uint8_t> bytes) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = round_up(static_cast<size_t>(bytes.data() - data_), page);
  const size_t end = static_cast<size_t>(bytes.data() - data_ + static_cast<ptrdiff_t>(bytes.size())) / page * page;
  if (begin < end) ::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
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
