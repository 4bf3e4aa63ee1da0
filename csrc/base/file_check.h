// The checksums of a file, read piece by piece while others use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"

namespace bebr {

// Not through the map, so that no page is taken for one that somebody needs; pages that only this reads are not kept in
// memory, where the system can do that (Linux 6.14).
class FileCheck {
 public:
  // Errors as of File::open.
  explicit FileCheck(const std::string& path);
  // Reads up to `most` bytes more; false once there are none. Throws Error(Corrupt) naming the first section that is
  // not as it was written, Error(Io) where the file cannot be read.
  bool step(size_t most);
  ~FileCheck();
  FileCheck(const FileCheck&) = delete;
  FileCheck& operator=(const FileCheck&) = delete;

 private:
  size_t read(uint8_t* to, size_t bytes, uint64_t at);
  std::shared_ptr<const File> file_;
  int fd_ = -1;
  bool keeps_pages_ = false;       // the system cannot leave them
  std::vector<std::string> left_;  // sections, the next one last
  uint64_t done_ = 0;              // bytes of that one
  uint32_t crc_ = 0;
  std::vector<uint8_t> piece_;
};

}  // namespace bebr
