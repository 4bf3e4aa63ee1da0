#include "payload/fields.h"

#if defined(__APPLE__)
#include <xlocale.h>
#endif

#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <system_error>

namespace bebr {
namespace {

constexpr size_t kMostNesting = 256;
constexpr size_t kMostNames = 4096;   // paths, those without a value too
constexpr size_t kMostDigits = 4000;  // Python reads whole numbers of 4300, unless it is told otherwise

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
template <typename T>
using TextMap = std::unordered_map<std::string, T, Hash, std::equal_to<>>;

// What JSON takes for a number. std::from_chars reads no double in the libc++ that older macOS comes with.
bool read_double(const char* begin, const char* end, double& value) {
#if defined(__APPLE__)
  errno = 0;
  value = ::strtod_l(std::string(begin, end).c_str(), nullptr, nullptr);  // without a locale: C's
  return std::isfinite(value) && (value != 0 || errno == 0);
#else
  return std::from_chars(begin, end, value).ec == std::errc();
#endif
}

// A path: where its values go, and the paths of the keys below it.
struct Name {
  std::string path;
  TextMap<uint32_t> below;
  uint64_t object = 0;  // the last one that had the key
  int64_t field = -1;
  TextMap<uint32_t> texts;  // of the field
};

class Reader {
 public:
  Reader(size_t most_paths, size_t most_depth) : most_paths_(most_paths), most_depth_(most_depth), names_(1) {}

  bool row(std::string_view text, uint32_t row) {
    at_ = text.data();
    end_ = at_ + text.size();
    row_ = row;
    skip_space();
    if (at_ == end_ || *at_ != '{' || !object(0, 1, 1)) return false;
    skip_space();
    return at_ == end_;
  }
  PayloadFields take() { return std::move(found_); }

 private:
  // The members of an object become values of the paths below `name`; kNowhere: they are passed over.
  static constexpr uint32_t kNowhere = ~0u;

  bool object(uint32_t name, size_t depth, size_t nesting) {
    if (nesting > kMostNesting) return false;
    if (depth > most_depth_ && name != kNowhere) {
      found_.complete = false;
      name = kNowhere;
    }
    const uint64_t self = ++objects_;
    ++at_;
    skip_space();
    if (at_ < end_ && *at_ == '}') return ++at_, true;
    for (;;) {
      skip_space();
      if (at_ == end_ || *at_ != '"' || !string(key_)) return false;
      skip_space();
      if (at_ == end_ || *at_++ != ':') return false;
      uint32_t below = kNowhere;
      if (name != kNowhere && !key_.empty() && key_.find('.') == std::string::npos) {
        below = below_of(name);
        if (below == kNowhere || names_[below].object == self) return false;
        names_[below].object = self;
      }
      if (!value(below, depth, nesting, false)) return false;
      skip_space();
      if (at_ == end_) return false;
      if (*at_ == '}') return ++at_, true;
      if (*at_++ != ',') return false;
    }
  }

  bool list(uint32_t name, size_t depth, size_t nesting, bool inside) {
    if (nesting > kMostNesting) return false;
    ++at_;
    skip_space();
    if (at_ < end_ && *at_ == ']') return ++at_, true;
    for (;;) {
      if (!value(inside ? kNowhere : name, depth, nesting, true)) return false;
      skip_space();
      if (at_ == end_) return false;
      if (*at_ == ']') return ++at_, true;
      if (*at_++ != ',') return false;
    }
  }

  bool value(uint32_t name, size_t depth, size_t nesting, bool in_list) {
    skip_space();
    if (at_ == end_) return false;
    switch (*at_) {
      case '{':
        add(name, ValueType::Inner, 0, in_list);
        return object(name, depth + 1, nesting + 1);
      case '[':
        if (in_list) add(name, ValueType::Inner, 0, true);
        return list(name, depth, nesting + 1, in_list);
      case '"':
        if (!string(text_)) return false;
        if (name != kNowhere) add_text(name, ValueType::Text, text_, in_list);
        return true;
      case 't':
        return add(name, ValueType::Bool, 1, in_list), word("true");
      case 'f':
        return add(name, ValueType::Bool, 0, in_list), word("false");
      case 'n':
        return word("null");
      default:
        return number(name, in_list);
    }
  }

  bool number(uint32_t name, bool in_list) {
    const char* begin = at_;
    const auto digits = [&] {
      const char* first = at_;
      while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
      return at_ - first;
    };
    if (at_ < end_ && *at_ == '-') ++at_;
    const char* whole = at_;
    const auto count = digits();
    if (count == 0 || (count > 1 && *whole == '0')) return false;
    bool real = false;
    if (at_ < end_ && *at_ == '.') {
      ++at_;
      real = true;
      if (digits() == 0) return false;
    }
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      real = true;
      if (at_ < end_ && (*at_ == '-' || *at_ == '+')) ++at_;
      if (digits() == 0) return false;
    }
    if (real) {
      double read = 0;
      if (!read_double(begin, at_, read)) return false;
      add(name, ValueType::Float, std::bit_cast<int64_t>(read), in_list);
      return true;
    }
    if (static_cast<size_t>(count) > kMostDigits) return false;
    int64_t read = 0;
    if (std::from_chars(begin, at_, read).ec == std::errc())
      add(name, ValueType::Int, read, in_list);
    else
      add_text(name, ValueType::LongInt, {begin, static_cast<size_t>(at_ - begin)}, in_list);
    return true;
  }

  bool string(std::string& out) {
    out.clear();
    ++at_;
    for (;;) {
      const char* first = at_;
      while (at_ < end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
      out.append(first, at_);
      if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20) return false;
      if (*at_++ == '"') return true;
      if (at_ == end_ || !escaped(out)) return false;
    }
  }

  // What stands after a backslash.
  bool escaped(std::string& out) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    const char c = *at_++;
    if (c != 'u') {
      const size_t which = kFrom.find(c);
      if (which == std::string_view::npos) return false;
      out += kTo[which];
      return true;
    }
    uint32_t code = 0;
    if (!hex(code)) return false;
    if (code >= 0xd800 && code < 0xe000) {
      uint32_t low = 0;
      if (code >= 0xdc00 || end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return false;
      at_ += 2;
      if (!hex(low) || low < 0xdc00 || low >= 0xe000) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else {
      const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
      static constexpr uint8_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
      out += static_cast<char>(kLead[more] | code >> 6 * more);
      for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | (code >> 6 * i & 0x3f));
    }
    return true;
  }

  bool hex(uint32_t& code) {
    if (end_ - at_ < 4) return false;
    const auto read = std::from_chars(at_, at_ + 4, code, 16);
    if (read.ec != std::errc() || read.ptr != at_ + 4) return false;
    at_ += 4;
    return true;
  }

  bool word(std::string_view wanted) {
    if (static_cast<size_t>(end_ - at_) < wanted.size() || std::string_view(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }

  // The path of key_ below a path; kNowhere where there are too many.
  uint32_t below_of(uint32_t name) {
    const auto found = names_[name].below.find(std::string_view(key_));
    if (found != names_[name].below.end()) return found->second;
    if (names_.size() >= kMostNames) return kNowhere;
    const auto number = static_cast<uint32_t>(names_.size());
    names_.emplace_back();
    names_.back().path = name == 0 ? key_ : names_[name].path + '.' + key_;
    names_[name].below.emplace(key_, number);
    return number;
  }

  PayloadField* field_of(uint32_t name) {
    if (name == kNowhere) return nullptr;
    Name& own = names_[name];
    if (own.field < 0) {
      if (found_.fields.size() >= most_paths_) {
        found_.complete = false;
        return nullptr;
      }
      own.field = static_cast<int64_t>(found_.fields.size());
      found_.fields.emplace_back().path = own.path;
    }
    return &found_.fields[static_cast<size_t>(own.field)];
  }

  void add(uint32_t name, ValueType type, int64_t data, bool in_list) {
    PayloadField* field = field_of(name);
    if (field == nullptr) return;
    field->rows.push_back(row_);
    field->types.push_back(static_cast<uint8_t>(type));
    field->data.push_back(data);
    field->kinds = static_cast<uint8_t>(field->kinds | static_cast<uint8_t>(type));
    (in_list ? field->listed : field->plain) = true;
  }

  void add_text(uint32_t name, ValueType type, std::string_view text, bool in_list) {
    PayloadField* field = field_of(name);
    if (field == nullptr) return;
    TextMap<uint32_t>& texts = names_[name].texts;
    const auto found = texts.find(text);
    const uint32_t place = found != texts.end() ? found->second : static_cast<uint32_t>(field->texts.size());
    if (found == texts.end()) {
      texts.emplace(text, place);
      field->texts.emplace_back(text);
    }
    add(name, type, place, in_list);
  }

  const size_t most_paths_, most_depth_;
  const char *at_ = nullptr, *end_ = nullptr;
  uint32_t row_ = 0;
  uint64_t objects_ = 0;
  std::vector<Name> names_;  // the first is that of whole payloads
  std::string key_, text_;
  PayloadFields found_;
};

}  // namespace

std::optional<PayloadFields> payload_fields(std::span<const std::string_view> payloads, size_t most_paths,
                                            size_t most_depth) {
  Reader reader(most_paths, most_depth);
  for (size_t i = 0; i < payloads.size(); ++i)
    if (!payloads[i].empty() && !reader.row(payloads[i], static_cast<uint32_t>(i))) return std::nullopt;
  return reader.take();
}

bool plain_payloads(std::span<const std::string_view> payloads) {
  Reader reader(0, 0);
  for (const std::string_view payload : payloads)
    if (!payload.empty() && !reader.row(payload, 0)) return false;
  return true;
}

}  // namespace bebr
