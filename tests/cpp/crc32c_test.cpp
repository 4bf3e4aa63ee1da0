// Checksums by instructions and by tables are the same, whatever the length and wherever the bytes lie.
#include "base/crc32c.h"

#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "check.h"

namespace bebr::test {
namespace {

BEBR_TEST(checksums_are_those_of_the_published_examples) {
  const auto of = [](std::string_view text, Isa isa) {
    return crc32c_by(isa, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  for (const Isa isa : runnable_isas()) {  // RFC 3720, B.4
    CHECK(of("123456789", isa) == 0xE3069283u, isa_name(isa));
    CHECK(of(std::string(32, '\0'), isa) == 0x8A9136AAu, isa_name(isa));
    CHECK(of("", isa) == 0, isa_name(isa));
  }
}

BEBR_TEST(checksums_by_instructions_are_those_by_tables) {
  Random random(1);
  std::vector<uint8_t> bytes(40000);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (const size_t length : {0, 1, 7, 8, 9, 100, 12287, 12288, 12289, 24576, 36864, 39990})
    for (const size_t begin : {0, 1, 5}) {
      const std::span<const uint8_t> some(bytes.data() + begin, length);
      const auto seed = static_cast<uint32_t>(random());
      const uint32_t want = crc32c_by(Isa::Scalar, some, seed);
      for (const Isa isa : runnable_isas())
        CHECK(crc32c_by(isa, some, seed) == want, isa_name(isa) << ", " << length << " bytes from " << begin);
      const size_t half = length / 3;
      CHECK(crc32c(some.subspan(half), crc32c(some.first(half), seed)) == want, "in two pieces of " << length);
    }
}

}  // namespace
}  // namespace bebr::test
