// Whose calls are answered: the keys of the server behind (bebr/serve/keys.py), as it last read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/headers.h"
#include "server/sha256.h"

namespace bebr {

// What tells one content of a file from another.
struct FileStamp {
  uint64_t inode = 0;
  int64_t modified = 0, size = 0;  // modified: ns
  bool operator==(const FileStamp&) const = default;
};

struct ApiKey {
  Sha256 digest;
  std::optional<std::vector<std::string>> collections;  // ascending names that it is for; absent: all
  std::string ungranted;                                // what it is told of another, "{}" in place of its name

  bool granted(std::string_view collection) const noexcept;
  // Absent where the name is none that may be written down as it stands.
  std::optional<std::string> refusal(std::string_view collection) const;
};

// Never changes. Every key of it may search.
class KeyTable {
 public:
  // missing, wrong: what a call without a key is told, and one with another.
  KeyTable(std::string path, const FileStamp& stamp, std::vector<ApiKey> keys, std::string missing, std::string wrong)
      : path_(std::move(path)),
        stamp_(stamp),
        keys_(std::move(keys)),
        missing_(std::move(missing)),
        wrong_(std::move(wrong)) {}

  // Whether the file is as it was. A key that was revoked counts no more, and the server behind reads what is new.
  bool current() const noexcept;
  // The key that `token` is; null for none. The time that it takes says nothing of how near a wrong one is.
  const ApiKey* find(std::string_view token) const noexcept;

  // Whose call it is, or why it is refused. Neither: what its headers say is for the server behind to judge.
  struct Caller {
    const ApiKey* key = nullptr;
    const std::string* refusal = nullptr;
  };
  // One that was found, for others of the same token.
  struct Known {
    std::string token;
    const ApiKey* key = nullptr;
  };
  Caller caller(const Headers& headers, Known& known) const;

 private:
  std::string path_;
  FileStamp stamp_;
  std::vector<ApiKey> keys_;
  std::string missing_, wrong_;
};

}  // namespace bebr
