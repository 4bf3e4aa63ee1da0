// A file of keys, and what a front is told of it.
#pragma once

#include <memory>
#include <string>

#include "server/keys.h"

namespace bebr::test {

class KeyFile {
 public:
  KeyFile();
  ~KeyFile();
  const std::string& path() const noexcept { return path_; }
  // As the file is now: "all" is a key for every collection, "some" for "other" and "small".
  std::shared_ptr<const KeyTable> table() const;

 private:
  std::string path_;
};

}  // namespace bebr::test
