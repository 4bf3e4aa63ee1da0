// Payloads, JSON objects as text, taken apart into their fields: the values at each path, by row.
//
// bebr/store/columns/flatten.py is the specification. Texts that are not plain give nothing, and Python reads them:
// broken JSON, a key twice in an object, lone surrogates, numbers that no float64 holds.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace bebr {

enum class ValueType : uint8_t {
  Inner = 1,     // an object, or a list in a list
  Bool = 2,      // data: 0 or 1
  Int = 4,       // data: the number
  Float = 8,     // data: the bits of a double
  Text = 16,     // data: its place in `texts`
  LongInt = 32,  // a whole number of more than 64 bits; data: the place of its digits in `texts`
};

// The values of one path. rows[i] is the row of value i, ascending.
struct PayloadField {
  std::string path;
  std::vector<uint32_t> rows;
  std::vector<uint8_t> types;
  std::vector<int64_t> data;
  std::vector<std::string> texts;  // distinct
  uint8_t kinds = 0;               // all types together
  bool listed = false;             // some are elements of lists
  bool plain = false;              // some are not
};

struct PayloadFields {
  std::vector<PayloadField> fields;
  bool complete = true;  // no path is missing
};

// most_paths: fields, the first that come; most_depth: objects in objects whose fields are taken.
std::optional<PayloadFields> payload_fields(std::span<const std::string_view> payloads, size_t most_paths,
                                            size_t most_depth);

// Whether all are JSON objects that need no second look: what payload_fields reads of, in UTF-8, or empty.
bool plain_payloads(std::span<const std::string_view> payloads);

}  // namespace bebr
