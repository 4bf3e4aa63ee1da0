// Index files with bytes changed at random, checksums made right again so that the readers' own checks must hold: a
// file either is refused by an Error, or opens and answers, within its memory.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "check.h"
#include "indexes.h"

namespace bebr::test {
namespace {

constexpr size_t kRows = 90, kLists = 5;
constexpr uint32_t kDim = 8;
constexpr size_t kHeader = 48, kEntry = 40;

// A path of this process's own, gone when the test ends.
struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / ("bebr_fuzz_" + std::to_string(::getpid()))).string();
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::vector<char> read() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::vector<char>& bytes) const {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
};

template <typename T>
T load(const std::vector<char>& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <typename T>
void store(std::vector<char>& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}
std::span<const uint8_t> part(const std::vector<char>& bytes, size_t at, size_t size) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()) + at, size};
}

// Every checksum as a writer of these bytes would have set it. Sections that lie outside the file keep theirs.
void seal(std::vector<char>& bytes) {
  const uint32_t count = load<uint32_t>(bytes, 12);
  if (count > 64 || kHeader + count * kEntry > bytes.size()) return;
  for (uint32_t i = 0; i < count; ++i) {
    const size_t entry = kHeader + i * kEntry;
    const uint64_t offset = load<uint64_t>(bytes, entry + 16), size = load<uint64_t>(bytes, entry + 24);
    if (offset <= bytes.size() && size <= bytes.size() - offset)
      store(bytes, entry + 32, crc32c(part(bytes, offset, size)));
  }
  store(bytes, 40, crc32c(part(bytes, kHeader, count * kEntry)));
  store(bytes, 44, crc32c(part(bytes, 0, 44)));
}

RowFormat format_of_test() {
  const uint32_t widths[] = {24, 16, 8};
  return {CodeSpec::make(widths), Factor::Mul, true, FactorCode::make(2, 0, 0), FactorCode::make(2, 0, 0)};
}

struct Filled {
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;
  std::vector<uint32_t> lists;

  Filled(Random& random, const RowFormat& format) {
    for (size_t i = 0; i < kRows * format.spec.row_bytes(); ++i) planes.push_back(static_cast<uint8_t>(random()));
    for (size_t i = 0; i < kRows * format.factors(); ++i) factors.insert(factors.end(), {0x00, 0x3c});  // 1 in fp16
    for (size_t i = 0; i < kRows; ++i) {
      ids.push_back(static_cast<int64_t>(3 * (kRows - 1 - i)));
      lists.push_back(below(random, kLists));
    }
  }
};

struct SearchQuery {
  float y[24], vector[kDim], base = 0.5f;
  Queries view() const { return {1, y, &base, y, &base, vector}; }
};

SearchQuery make_query(Random& random) {
  SearchQuery query;
  for (float& value : query.y) value = static_cast<float>(below(random, 200)) / 100 - 1;
  for (float& value : query.vector) value = static_cast<float>(below(random, 200)) / 100 - 1;
  return query;
}

void use(const Index& index, const SearchQuery& query) {
  if (index.format().spec.dims() != 24 || (index.vector_dim() != 0 && index.vector_dim() != kDim)) return;
  SearchOptions options;
  options.k = 5;
  options.first_stage_rows = options.ef_search = 20;
  const std::vector<int64_t> allow = {3, 9, 12, 1000};
  for (const size_t nprobe : {size_t{2}, kLists}) {
    options.nprobe = nprobe;
    answer_of(index, query.view(), options);
    answer_of(index, query.view(), options, allow);
  }
  index.contains(6);
  index.rows();
}

void fuzz(const std::vector<char>& whole, const TemporaryFile& file, Random& random) {
  const SearchQuery query = make_query(random);
  const uint32_t count = load<uint32_t>(whole, 12);
  size_t refused = 0, opened = 0;
  for (int round = 0; round < 1500; ++round) {
    std::vector<char> bytes = whole;
    if (round % 10 == 0) bytes.resize(below(random, static_cast<uint32_t>(bytes.size())));
    // The header and the table, the small sections, or anything.
    const uint32_t kind = below(random, 3);
    for (uint32_t change = 0; change < 1 + below(random, 3) && !bytes.empty(); ++change) {
      size_t at = below(random, static_cast<uint32_t>(bytes.size()));
      if (kind == 0) at = below(random, static_cast<uint32_t>(kHeader + count * kEntry));
      if (kind == 1) {
        const size_t entry = kHeader + below(random, count) * kEntry;
        const auto size = static_cast<uint32_t>(load<uint64_t>(whole, entry + 24));
        at = load<uint64_t>(whole, entry + 16) + (size > 0 ? below(random, size) : 0);
      }
      if (at < bytes.size()) bytes[at] = static_cast<char>(random());
    }
    if (bytes.size() >= kHeader) seal(bytes);
    file.write(bytes);
    for (const bool map : {false, true}) {
      try {
        use(*Index::open(File::open(file.path, "", !map), map), query);
        ++opened;
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 300 && opened > 300, "refused " << refused << ", opened " << opened);
}

BEBR_TEST(a_changed_flat_file_is_refused_or_read_within_its_memory) {
  Random random(41);
  const RowFormat format = format_of_test();
  const Filled rows(random, format);
  const auto index = flat_index(format);
  index->add({kRows, rows.planes.data(), rows.factors.data(), rows.ids.data(), nullptr});
  const TemporaryFile file;
  index->save(file.path, {});
  fuzz(file.read(), file, random);
}

BEBR_TEST(a_changed_ivf_file_is_refused_or_read_within_its_memory) {
  Random random(42);
  const RowFormat format = format_of_test();
  const Filled rows(random, format);
  std::vector<float> centroids(kLists * kDim);
  for (float& value : centroids) value = static_cast<float>(below(random, 200)) / 100 - 1;
  const auto index = ivf_index(format, kDim, centroids);
  index->add({kRows, rows.planes.data(), rows.factors.data(), rows.ids.data(), rows.lists.data()});
  const TemporaryFile file;
  index->save(file.path, {});
  fuzz(file.read(), file, random);
}

BEBR_TEST(a_changed_graph_file_is_refused_or_read_within_its_memory) {
  Random random(43);
  const RowFormat format = format_of_test();
  const Filled rows(random, format);
  const auto index =
      graph_index(format, {8, 30, 0}, {std::vector<float>(24, 1.0f), std::vector<float>(24, 0.1f), 0.2f, 1, 0, false});
  index->add({kRows, rows.planes.data(), rows.factors.data(), rows.ids.data(), nullptr});
  const TemporaryFile file;
  index->save(file.path, {});
  fuzz(file.read(), file, random);
}

}  // namespace
}  // namespace bebr::test
