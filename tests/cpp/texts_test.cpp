// Texts beside rows: those of a file, and those that grow while others read.
#include "collection/texts.h"

#include <atomic>
#include <string>
#include <thread>

#include "check.h"

namespace bebr::test {
namespace {

BEBR_TEST(texts_of_a_file) {
  const uint64_t at[] = {0, 3, 3, 7}, falls[] = {0, 5, 3, 7}, beyond[] = {0, 3, 3, 9};
  const std::string_view text = "abcdefg";
  const MappedTexts good(at, text), bad(falls, text), more(beyond, text);
  CHECK(good.find(0) == "abc" && good.find(1) == "" && good.find(2) == "defg", "as they stand");
  CHECK(!good.find(3), "past the last row");
  CHECK(bad.find(0) == "abcde" && !bad.find(1), "a place that falls");
  CHECK(!more.find(2), "a place beyond the text");
}

BEBR_TEST(texts_that_grow_while_others_read) {
  GrowingTexts texts;
  std::atomic<size_t> wrong{0}, looked{0};
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      const size_t rows = texts.size();
      for (size_t row = 0; row < rows; row += 1 + rows / 50) {
        const auto found = texts.find(row);
        if (!found || *found != (row % 3 == 0 ? "" : std::to_string(row))) ++wrong;
        ++looked;
      }
    }
  });
  for (size_t row = 0; row < 20'000;) {
    std::vector<std::string> more;
    for (size_t i = 0; i <= row % 40; ++i) more.push_back((row + i) % 3 == 0 ? "" : std::to_string(row + i));
    const std::vector<std::string_view> views(more.begin(), more.end());
    texts.append(views);
    row += more.size();
  }
  while (looked < 1000) std::this_thread::yield();
  done = true;
  reader.join();
  CHECK(wrong == 0, wrong);
  const size_t rows = texts.size();
  texts.append_empty(3000);
  CHECK(texts.size() == rows + 3000 && texts.find(rows + 2999) == "" && !texts.find(rows + 3000), "without a text");
}

BEBR_TEST(what_is_utf8) {
  for (const char* text : {"", "a", "plain ASCII that is long", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "sp\xc3\xa4t und l\xc3\xa4nger"})
    CHECK(is_utf8(text), text);
  for (const char* text : {"\x80", "\xc1\xbf", "\xc2",
                           "\xc2"
                           "a",
                           "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                           "\xe2\x82", "abcdefgh\xff",
                           "\xe2\x82"
                           "abc"})
    CHECK(!is_utf8(text), "not UTF-8");
}

}  // namespace
}  // namespace bebr::test
