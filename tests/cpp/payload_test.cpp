// Payloads taken apart: what is found in a plain one, and that whatever bytes come, nothing past them is read.
// tests/store/test_columns.py compares with Python.
#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "payload/fields.h"

namespace bebr::test {
namespace {

BEBR_TEST(fields_of_plain_payloads) {
  const std::vector<std::string_view> payloads = {R"({"a": 1, "b": {"c": ["x", "y"]}})", "", R"({"a": 2.5, "d": null})",
                                                  R"({"b": {"c": "x"}, "e": 123456789012345678901})"};
  const auto found = payload_fields(payloads, 100, 8);
  CHECK(found && found->complete && found->fields.size() == 4, "four paths");
  const PayloadField &a = found->fields[0], &b = found->fields[1], &c = found->fields[2], &e = found->fields[3];
  CHECK(a.path == "a" && a.rows == (std::vector<uint32_t>{0, 2}) && a.kinds == 12, "a whole number and a float");
  CHECK(b.path == "b" && b.kinds == 1 && b.rows == (std::vector<uint32_t>{0, 3}), "objects");
  CHECK(c.path == "b.c" && c.rows == (std::vector<uint32_t>{0, 0, 3}) && c.listed && c.plain, "texts");
  CHECK(c.texts == (std::vector<std::string>{"x", "y"}) && c.data == (std::vector<int64_t>{0, 1, 0}), "distinct ones");
  CHECK(e.kinds == 32 && e.texts[0] == "123456789012345678901", "more than 64 bits");
}

BEBR_TEST(any_bytes_for_payloads) {
  const std::string plain =
      R"({"name": "a\u00fc\ud83d\ude00\n", "list": [1, -2.5e3, true, false, null, {"in": [[], {}]}], "n": {"m": {"o": 7}}})";
  Random random(5);
  size_t read = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = plain.substr(0, random() % 4 == 0 ? random() % plain.size() : plain.size());
    for (uint64_t edits = random() % 4; edits > 0 && !text.empty(); --edits) {
      const char with = random() % 2 == 0 ? "{}[]\",:\\u0e-."[random() % 14] : static_cast<char>(random() % 256);
      text[random() % text.size()] = with;
    }
    Exact<char> bytes(text.size());
    std::copy(text.begin(), text.end(), bytes.data());
    const std::vector<std::string_view> payloads = {{bytes.data(), text.size()}};
    const auto found = payload_fields(payloads, 5, 3);
    read += found ? 1u : 0u;
    for (size_t f = 0; found && f < found->fields.size(); ++f) {
      const PayloadField& field = found->fields[f];
      CHECK(field.rows.size() == field.types.size() && field.rows.size() == field.data.size(), text);
    }
  }
  CHECK(read > 2'000, "some are whole: " << read);
}

BEBR_TEST(payloads_nested_without_end) {
  for (const std::string open : {"[", "{\"a\":", "[{\"a\":"}) {
    std::string text = "{\"a\":";
    for (int i = 0; i < 100'000; ++i) text += open;
    const std::vector<std::string_view> payloads = {text};
    CHECK(!payload_fields(payloads, 100, 8), open);
    CHECK(!plain_payloads(payloads), open);
  }
}

}  // namespace
}  // namespace bebr::test
