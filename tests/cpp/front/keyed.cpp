#include "keyed.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace bebr::test {

KeyFile::KeyFile() {
  char name[] = "/tmp/bebr-keys-XXXXXX";
  const int file = mkstemp(name);
  if (file < 0) throw std::runtime_error("no file of keys");
  close(file);
  path_ = name;
}

KeyFile::~KeyFile() { unlink(path_.c_str()); }

std::shared_ptr<const KeyTable> KeyFile::table() const {
  struct stat now{};
  if (stat(path_.c_str(), &now) != 0) throw std::runtime_error("the file of keys is gone");
  const FileStamp stamp{now.st_ino, int64_t{now.st_mtim.tv_sec} * 1'000'000'000 + now.st_mtim.tv_nsec, now.st_size};
  std::vector<ApiKey> keys = {{sha256("all"), std::nullopt, "key 'all' is not granted '{}'"},
                              {sha256("some"), std::vector<std::string>{"other", "small"}, "not granted '{}', no"}};
  return std::make_shared<const KeyTable>(path_, stamp, std::move(keys), "no key", "wrong key");
}

}  // namespace bebr::test
