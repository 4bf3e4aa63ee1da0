// Files written in pieces, and the chunks and the merge of a bulk build: the same bytes as written at once.
#include "base/file.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file_check.h"
#include "check.h"
#include "index/ivf/chunk.h"
#include "index/ivf/merge.h"
#include "indexes.h"

namespace bebr::test {
namespace {

// A folder that goes away.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "bebr_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Failure("no temporary folder");
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
  size_t count() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
  }
};

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

template <typename Run>
std::string error_of(Run run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::vector<uint8_t> random_bytes(Random& random, size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  return bytes;
}

BEBR_TEST(pieces_in_any_order_of_sections_make_the_same_file) {
  Random random(1);
  const Folder folder;
  const std::vector<std::vector<uint8_t>> bytes = {
      random_bytes(random, 1000), {}, random_bytes(random, 64), random_bytes(random, 333)};
  const std::vector<Section> sections = {{"a", bytes[0]}, {"none", bytes[1]}, {"b", bytes[2]}, {"c", bytes[3]}};
  write_file(folder.file("whole"), "test", sections);
  std::vector<FileWriter::Planned> planned;
  for (const Section& s : sections) planned.push_back({s.name, s.bytes.size()});
  {
    FileWriter writer(folder.file("pieces"), "test", planned);
    std::vector<size_t> done(sections.size());
    for (size_t left = 1397; left > 0;) {
      const size_t s = below(random, 4);
      const size_t n = std::min<size_t>(below(random, 50), sections[s].bytes.size() - done[s]);
      writer.append(sections[s].name, sections[s].bytes.subspan(done[s], n));
      done[s] += n;
      left -= n;
    }
    CHECK(!std::filesystem::exists(folder.file("pieces")), "it appears at the end only");
    writer.finish();
  }
  CHECK(contents(folder.file("pieces")) == contents(folder.file("whole")), "bytes differ");
  File::open(folder.file("pieces"), "test", true);
  CHECK(folder.count() == 2, folder.count() << " files");
}

// Each writes a file of one letter; whichever is renamed last is whole.
BEBR_TEST(threads_that_save_one_path_do_not_mix_their_bytes) {
  const Folder folder;
  const std::string path = folder.file("x.bebr");
  std::vector<std::thread> threads;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    threads.emplace_back([letter, path] {
      const std::vector<uint8_t> bytes(100000, static_cast<uint8_t>(letter));
      for (int round = 0; round < 10; ++round) {
        const Section sections[] = {{"one", bytes}};
        write_file(path, "test", sections);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  File::open(path, "test", true);  // throws where a checksum is wrong
  CHECK(folder.count() == 1, "temporary files are left");
}

BEBR_TEST(what_was_not_planned_is_refused_and_leaves_nothing) {
  const Folder folder;
  const FileWriter::Planned planned[] = {{"a", 4}};
  const uint8_t bytes[5] = {};
  {
    FileWriter writer(folder.file("f"), "test", planned);
    CHECK(error_of([&] { writer.append("a", bytes); }).find("planned with 4 bytes: got 5") != std::string::npos, "");
    CHECK(error_of([&] { writer.append("b", bytes); }).find("'b' was not planned") != std::string::npos, "");
    writer.append("a", std::span(bytes).first(3));
    CHECK(error_of([&] { writer.finish(); }).find("planned with 4 bytes: got 3") != std::string::npos, "");
    CHECK(folder.count() == 1, "the temporary file");
  }
  CHECK(folder.count() == 0, folder.count() << " files left");
}

// Rows in lists, as a build has them.
struct Build {
  RowFormat format;
  std::vector<float> centroids;
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;
  std::vector<uint32_t> lists;

  RawFormat raw;  // dim 0: none are kept
  std::vector<float> vectors;
  std::vector<uint8_t> raw_rows;

  Build(Random& random, const RowFormat& format_, size_t rows, size_t list_count, bool shuffled, RawFormat raw_ = {})
      : format(format_), centroids(list_count * 8), raw(raw_), vectors(rows * raw_.dim) {
    for (float& value : vectors) value = static_cast<float>(random() % 2001) / 1000 - 1;
    raw_rows.resize(raw.dim > 0 ? rows * raw.stride() : 0);
    if (raw.dim > 0) store_raw(raw, rows, vectors.data(), raw_rows.data());
    for (float& c : centroids) c = static_cast<float>(random() % 1000);
    planes = random_bytes(random, rows * format.spec.row_bytes());
    for (size_t i = 0; i < rows * format.factors(); ++i) {
      const auto half = static_cast<uint16_t>(0x3c00 + random() % 100);  // 1 to 1.1
      factors.push_back(static_cast<uint8_t>(half & 255));
      factors.push_back(static_cast<uint8_t>(half >> 8));
    }
    // One list is empty, one has most rows.
    for (size_t i = 0; i < rows; ++i)
      lists.push_back(random() % 3 == 0 ? 1 : static_cast<uint32_t>(2 + random() % (list_count - 2)));
    ids.resize(rows);
    std::iota(ids.begin(), ids.end(), 0);
    if (shuffled) {
      for (size_t i = rows; i > 1; --i) std::swap(ids[i - 1], ids[below(random, static_cast<uint32_t>(i))]);
      for (int64_t& id : ids) id *= 1'000'000'007;
    }
  }

  Centroids made() const { return Centroids(8, centroids.size() / 8, centroids.data(), false); }

  std::string in_memory(const Folder& folder) const {
    const auto index = ivf_index(format, 8, centroids);
    index->add({ids.size(), planes.data(), factors.data(), ids.data(), lists.data()});
    std::vector<Section> sections;
    RawVectors kept(raw.dim > 0 ? raw : RawFormat{1});
    if (raw.dim > 0) kept.add(ids.size(), vectors.data(), ids.data());
    const RawVectors::Saved saved(kept);
    if (raw.dim > 0) saved.add_to(sections);
    index->save(folder.file("memory"), sections);
    return contents(folder.file("memory"));
  }

  std::vector<std::string> chunks(const Folder& folder, size_t chunk, bool own_ids) const {
    std::vector<std::string> paths;
    for (size_t row = 0; row < ids.size(); row += chunk) {
      paths.push_back(folder.file(("chunk" + std::to_string(row)).c_str()));
      write_chunk(paths.back(), format,
                  {row, std::min(chunk, ids.size() - row), planes.data() + row * format.spec.row_bytes(),
                   factors.data() + row * format.factor_bytes(), own_ids ? ids.data() + row : nullptr,
                   lists.data() + row, static_cast<uint32_t>(centroids.size() / 8),
                   raw.dim > 0 ? raw_rows.data() + row * raw.stride() : nullptr, raw.dim > 0 ? raw.stride() : 0});
    }
    return paths;
  }

  void merge(const Folder& folder, std::span<const std::string> paths, size_t memory = 1 << 14) const {
    const Centroids centroids_ = made();
    merge_chunks(folder.file("merged"), {format, centroids_, paths, {}, raw, memory, nullptr});
  }
};

RowFormat format_of(std::vector<uint32_t> widths, Factor factor, bool stage) {
  return {CodeSpec::make(widths), factor, stage, FactorCode::make(2, 0, 1), FactorCode::make(2, 0, 1)};
}

BEBR_TEST(merged_chunks_are_the_index_built_in_memory) {
  Random random(2);
  for (const RowFormat& format : {format_of({64, 40, 8}, Factor::Mul, false), format_of({40}, Factor::None, false),
                                  format_of({72, 72}, Factor::Sub, true)})
    for (const bool shuffled : {false, true})
      for (const size_t chunk : {1, 37, 1000, 5000}) {
        const Folder folder;
        const RawFormat raw = {chunk == 37 ? 0u : 3u, shuffled ? RawType::Int8 : RawType::Float16};
        const Build build(random, format, chunk == 1 ? 60 : 4000, 23, shuffled, raw);
        const auto paths = build.chunks(folder, chunk, shuffled || chunk == 37);
        build.merge(folder, paths);
        CHECK(contents(folder.file("merged")) == build.in_memory(folder), "chunks of " << chunk << ", " << shuffled);
      }
}

BEBR_TEST(ids_that_come_twice_or_too_close_together_are_refused) {
  Random random(3);
  const Folder folder;
  Build build(random, format_of({64}, Factor::Mul, false), 3000, 5, true);
  build.ids[2999] = build.ids[5];
  const std::string twice = error_of([&] { build.merge(folder, build.chunks(folder, 700, true)); });
  CHECK(twice == "id " + std::to_string(build.ids[5]) + " comes twice: want each once", twice);
  build.ids[2999] = int64_t{1} << 62;  // all others fall into one bucket
  const std::string close = error_of([&] { build.merge(folder, build.chunks(folder, 700, true)); });
  CHECK(close.find("want ") != std::string::npos && close.find("close together") != std::string::npos, close);
  CHECK(!std::filesystem::exists(folder.file("merged")), "nothing is written");
}

BEBR_TEST(a_chunk_with_any_byte_changed_is_refused) {
  Random random(4);
  const Folder folder;
  const Build build(random, format_of({64, 8}, Factor::Mul, false), 400, 5, false, {3, RawType::Float16});
  const auto paths = build.chunks(folder, 200, true);
  const std::string whole = contents(paths[1]);
  for (size_t at = 0; at < whole.size(); at += 1 + below(random, 40)) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << below(random, 8)));
    std::ofstream(paths[1], std::ios::binary) << damaged;
    const std::string error = error_of([&] { build.merge(folder, paths); });
    // The spaces between sections belong to none.
    CHECK(!error.empty() || contents(folder.file("merged")) == build.in_memory(folder), "byte " << at);
    std::filesystem::remove(folder.file("merged"));
  }
}

// Whatever the steps, across the borders of sections.
BEBR_TEST(a_file_that_is_read_piece_by_piece_names_the_section_that_changed) {
  Random random(11);
  const Folder folder;
  const std::string path = folder.file("x.bebr");
  const std::vector<uint8_t> a = random_bytes(random, 1000), b = random_bytes(random, 1), c = random_bytes(random, 300);
  const std::vector<Section> sections{{"a", a}, {"none", {}}, {"b", b}, {"c", c}};
  const auto check = [&](size_t step) {
    FileCheck file(path);
    size_t steps = 1;
    while (file.step(step)) ++steps;
    CHECK(!file.step(step), "read again");
    return steps;
  };
  for (const size_t step : {size_t{1}, size_t{7}, size_t{300}, size_t{1} << 20}) {
    write_file(path, "test", sections);
    CHECK(check(step) <= (1301 + step - 1) / step, "steps of " << step);
    for (const char* name : {"a", "b", "c"}) {
      write_file(path, "test", sections);
      const uint64_t at = File::open(path, "", true)->offset(name);
      {
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekg(static_cast<std::streamoff>(at));
        const int byte = file.get();
        file.seekp(static_cast<std::streamoff>(at));
        file.put(static_cast<char>(byte ^ 4));
      }
      const std::string found = error_of([&] { check(step); });
      CHECK(found.find(std::string("section '") + name + "': checksum") != std::string::npos, found);
    }
  }
  CHECK(error_of([&] { FileCheck(folder.file("none.bebr")); }).find("none.bebr") != std::string::npos, "no file");
}

}  // namespace
}  // namespace bebr::test
