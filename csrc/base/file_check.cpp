#include "base/file_check.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace bebr {
namespace {

#ifdef __linux__
constexpr int kDontCache = 0x80;  // RWF_DONTCACHE, which older headers do not have
#endif

[[noreturn]] void fail_read(const std::string& path) {
  fail(ErrorCode::Io, "cannot read " + path + ": " + std::strerror(errno));
}

}  // namespace

FileCheck::FileCheck(const std::string& path) : file_(File::open(path, "", false)), left_(file_->names()) {
  std::reverse(left_.begin(), left_.end());
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail_read(path);
}

FileCheck::~FileCheck() {
  if (fd_ >= 0) ::close(fd_);
}

size_t FileCheck::read(uint8_t* to, size_t bytes, uint64_t at) {
  for (;;) {
    ssize_t got = -1;
#ifdef __linux__
    if (!keeps_pages_) {
      iovec into{to, bytes};
      got = ::preadv2(fd_, &into, 1, static_cast<off_t>(at), kDontCache);
      if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
        keeps_pages_ = true;
        continue;
      }
    } else {
      got = ::pread(fd_, to, bytes, static_cast<off_t>(at));
    }
#else
    got = ::pread(fd_, to, bytes, static_cast<off_t>(at));
#endif
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_read(file_->path());
    if (got == 0) fail(ErrorCode::Corrupt, file_->path() + " has become shorter");
    return static_cast<size_t>(got);
  }
}

bool FileCheck::step(size_t most) {
  while (most > 0 && !left_.empty()) {
    const std::string& name = left_.back();
    const uint64_t size = file_->section(name).size();
    if (done_ < size) {
      piece_.resize(std::min<uint64_t>(most, size - done_));
      const size_t got = read(piece_.data(), piece_.size(), file_->offset(name) + done_);
      crc_ = crc32c({piece_.data(), got}, crc_);
      done_ += got;
      most -= got;
    }
    if (done_ < size) continue;
    if (crc_ != file_->checksum(name)) file_->fail_checksum(name, crc_);
    left_.pop_back();
    done_ = 0;
    crc_ = 0;
  }
  return !left_.empty();
}

}  // namespace bebr
