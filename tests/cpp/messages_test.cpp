// Replies of servers: whatever bytes come, nothing past them is read. tests/serve/test_messages.py compares with
// protobuf.
#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "messages/hits.h"

namespace bebr::test {
namespace {

BEBR_TEST(any_bytes_for_a_reply) {
  std::string whole("\x0a\x18", 2);  // three ids, their scores, counts of two queries, a payload
  for (int i = 0; i < 24; ++i) whole.push_back(static_cast<char>(i % 8 == 0 ? i / 8 : 0));
  whole.append("\x12\x0c", 2).append(12, '\0').append("\x1a\x02\x01\x02\x22\x02{}\x28\x09", 10);
  Random random(3);
  size_t read = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = whole.substr(0, random() % 4 == 0 ? random() % whole.size() : whole.size());
    for (uint64_t edits = random() % 3; edits > 0 && !text.empty(); --edits)
      text[random() % text.size()] = static_cast<char>(random() % 256);
    Exact<char> bytes(text.size());
    std::copy(text.begin(), text.end(), bytes.data());
    const auto found = read_hits({bytes.data(), text.size()}, 2);
    if (!found) continue;
    ++read;
    const size_t rows = found->counts.size();
    Exact<float> scores(2 * rows);
    Exact<int64_t> ids(2 * rows);
    found->place(2, -1, scores.data(), ids.data());
    if (text == whole)
      CHECK(rows == 2 && found->more && ids[0] == 0 && ids[1] == -1 && ids[2] == 1 && ids[3] == 2 && scores[1] == -1,
            "as it was sent");
  }
  CHECK(read > 5000, read);
}

}  // namespace
}  // namespace bebr::test
