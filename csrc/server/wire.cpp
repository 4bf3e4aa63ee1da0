#include "server/wire.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "messages/reader.h"
#include "messages/writer.h"

namespace bebr {
namespace {

constexpr char kKeyEnd = '\0';  // in a key: of the filter, which is JSON and has none

static_assert(std::endian::native == std::endian::little, "columns are little-endian");

constexpr size_t kTextHead = 6;  // bytes of a field and a length before a text
constexpr int64_t kFirstPlace = int64_t{1} << 62;
constexpr size_t kMostGroup = 1000;  // rows of a group
constexpr uint64_t kMostK = (uint64_t{1} << 31) - 1;

bool read_vectors(std::string_view message, SearchRequest& request) noexcept {
  Reader in(message);
  bool given = false;
  while (in.more()) {
    switch (in.varint(UINT32_MAX)) {
      case bytes_field(1):
        request.values = in.bytes();
        request.half = false;
        given = true;
        break;
      case bytes_field(2):
        request.values = in.bytes();
        request.half = true;
        given = true;
        break;
      case varint_field(3):
        request.dimension = in.number();
        break;
      case varint_field(4):
        request.count = in.number();
        break;
      default:
        return false;
    }
  }
  return in.good() && in.shortest() && given;
}

// Whether lists or candidates of a search, where they are given, are what Python takes.
bool fits(const std::optional<size_t>& effort, size_t most, bool exact) noexcept {
  return !effort || (!exact && *effort >= 1 && *effort <= most);
}

}  // namespace

std::optional<size_t> framed_length(std::string_view frame) noexcept {
  if (frame.size() < kFrameHead || frame[0] != 0) return std::nullopt;
  size_t length = 0;
  for (size_t i = 1; i < kFrameHead; ++i) length = length << 8 | static_cast<uint8_t>(frame[i]);
  return length;
}

std::optional<SearchRequest> read_search(std::string_view message) noexcept {
  SearchRequest request;
  request.asked.k = 0;
  Reader in(message);
  bool queries = false;
  while (in.more()) {
    switch (in.varint(UINT32_MAX)) {
      case bytes_field(1):
        if (request.collection.data() != nullptr) return std::nullopt;  // protobuf looks at both whether they are UTF-8
        request.collection = in.bytes();
        break;
      case bytes_field(2):
        if (queries || !read_vectors(in.bytes(), request))
          return std::nullopt;  // a second one is merged into the first
        queries = true;
        break;
      case varint_field(3):
        request.asked.k = in.number();
        break;
      case varint_field(4): {
        const uint64_t mode = in.varint(2);
        request.asked.coded = mode == 2;
        break;
      }
      case varint_field(5):
        request.asked.oversampling = in.number();
        request.asked.exact = false;
        break;
      case varint_field(6):
        request.asked.exact = in.flag();
        request.asked.oversampling.reset();
        break;
      case bytes_field(7):
        request.allow = in.bytes();
        break;
      case varint_field(8):
        request.payloads = in.flag();
        break;
      case bytes_field(9):
        if (request.model.data() != nullptr) return std::nullopt;
        request.model = in.bytes();
        if (request.model.empty()) return std::nullopt;
        break;
      case bytes_field(10):
        if (request.filter) return std::nullopt;
        request.filter = in.bytes();
        if (request.filter->find(kKeyEnd) != std::string_view::npos) return std::nullopt;
        break;
      case real_field(11):
        request.asked.radius = in.real();
        break;
      case varint_field(12):
        request.offset = in.number();
        break;
      case bytes_field(13):
        request.by_ids = in.bytes();
        break;
      case bytes_field(16):
        if (request.group_by) return std::nullopt;
        request.group_by = in.bytes();
        break;
      case varint_field(17):
        request.group_size = std::max<size_t>(1, in.number());
        break;
      case varint_field(20):
        request.asked.rescore = in.number();
        break;
      case varint_field(23):
        request.asked.nprobe = in.number();
        break;
      case varint_field(24):
        request.asked.ef_search = in.number();
        break;
      case varint_field(25):
        request.partial = in.flag();
        break;
      default:
        return std::nullopt;
    }
  }
  const CollectionSearch& asked = request.asked;
  const size_t depth = asked.k + request.offset, rescore = asked.rescore.value_or(0);
  if (request.by_ids) request.count = request.by_ids->size() / sizeof(int64_t);
  if (!in.good() || !in.shortest()) return std::nullopt;  // numbers longer than they need be are left to protobuf
  if (queries == request.by_ids.has_value() || asked.k < 1 || depth > kMostK) return std::nullopt;
  if (asked.oversampling && (*asked.oversampling < 1 || *asked.oversampling > kMostK)) return std::nullopt;
  if (asked.radius && !std::isfinite(*asked.radius)) return std::nullopt;
  if (!fits(asked.nprobe, kMostLists, asked.exact) || !fits(asked.ef_search, kMostCandidates, asked.exact))
    return std::nullopt;
  if (request.group_by ? request.group_size > kMostGroup || (request.filter && request.filter->empty())
                       : request.group_size != 1)
    return std::nullopt;
  if (rescore > kMostK || (rescore > 0 && rescore < depth)) return std::nullopt;
  return request;
}

namespace {

// Whether none of the numbers, each with all of `exponent` set where it is not finite, is such.
template <typename Bits>
bool finite(std::string_view values, Bits exponent) noexcept {
  Bits bad = 0;
  for (size_t at = 0; at < values.size(); at += sizeof(Bits)) {
    Bits value = 0;
    std::memcpy(&value, values.data() + at, sizeof value);
    bad |= (value & exponent) == exponent ? 1 : 0;
  }
  return bad == 0;
}

}  // namespace

bool good_queries(const SearchRequest& request) noexcept {
  const size_t values = request.count * request.dimension, size = request.half ? 2 : 4;
  if (request.values.size() / size != values || request.values.size() % size != 0) return false;
  return request.half ? finite<uint16_t>(request.values, 0x7c00) : finite<uint32_t>(request.values, 0x7f800000);
}

void load_queries(std::string_view values, bool half, float* queries) noexcept {
  if (!half) {
    if (!values.empty()) std::memcpy(queries, values.data(), values.size());
    return;
  }
  for (size_t i = 0; 2 * i < values.size(); ++i) {
    uint16_t one = 0;
    std::memcpy(&one, values.data() + 2 * i, sizeof one);
    queries[i] = half_to_float(one);
  }
}

std::string group_key(const std::optional<std::string_view>& filter, std::string_view path) {
  std::string key(filter.value_or(std::string_view{}));
  key += kKeyEnd;
  return key += path;
}

std::optional<std::string> filter_of_key(const std::optional<std::string>& key) {
  if (!key || key->find(kKeyEnd) == 0) return std::nullopt;
  return key->substr(0, key->find(kKeyEnd));
}

std::optional<std::vector<int64_t>> read_ids(std::string_view column, bool keyed) {
  if (column.size() % sizeof(int64_t) != 0) return std::nullopt;
  std::vector<int64_t> ids(column.size() / sizeof(int64_t));
  if (!ids.empty()) std::memcpy(ids.data(), column.data(), column.size());
  const int64_t end = keyed ? kFirstPlace : std::numeric_limits<int64_t>::max();
  for (const int64_t id : ids)
    if (id < 0 || id >= end) return std::nullopt;
  return ids;
}

size_t Answers::count(size_t query) const noexcept {
  const int64_t* const of = ids + query * depth;
  size_t end = offset;
  while (end < depth && of[end] >= 0) ++end;
  return end - offset;
}

std::vector<int64_t> Answers::shown() const {
  std::vector<int64_t> found;
  for (size_t q = 0; q < n; ++q) {
    const int64_t* const first = ids + q * depth + offset;
    found.insert(found.end(), first, first + count(q));
  }
  return found;
}

void write_reply(const Answers& answers, const RowTexts& texts, std::string& out) {
  size_t total = 0, packed = 0, bytes = 0;
  for (size_t q = 0; q < answers.n; ++q) {
    const size_t count = answers.count(q);
    total += count;
    packed += varint_size(count);
  }
  for (const std::vector<std::string_view>* column : {&texts.payloads, &texts.keys})
    for (const std::string_view text : *column) bytes += text.size() + kTextHead;
  for (const std::string& value : answers.groups) bytes += value.size() + kTextHead;
  out.assign(kFrameHead, '\0');
  out.reserve(kFrameHead + 12 * total + packed + bytes + 48);
  const auto column = [&](uint64_t field, const auto* values) {
    if (total == 0) return;
    put_varint(out, bytes_field(field));
    put_varint(out, total * sizeof *values);
    for (size_t q = 0; q < answers.n; ++q)
      out.append(reinterpret_cast<const char*>(values + q * answers.depth + answers.offset),
                 answers.count(q) * sizeof *values);
  };
  column(1, answers.ids);
  column(2, answers.scores);
  put_varint(out, bytes_field(3));
  put_varint(out, packed);
  for (size_t q = 0; q < answers.n; ++q) put_varint(out, answers.count(q));
  for (const std::string_view payload : texts.payloads) put_bytes(out, 4, payload);
  put_number(out, 5, answers.elapsed_us);
  put_number(out, 6, answers.batch);
  for (const std::string_view key : texts.keys) put_bytes(out, 7, key);
  for (const std::string& value : answers.groups) put_bytes(out, 8, value);
  if (answers.shards > 0) {
    put_number(out, 9, answers.shards);
    size_t numbers = 0;
    for (uint32_t shard = 0; shard < answers.shards; ++shard) numbers += varint_size(shard);
    put_varint(out, bytes_field(10));
    put_varint(out, numbers);
    for (uint32_t shard = 0; shard < answers.shards; ++shard) put_varint(out, shard);
  }
  put_length(out);
}

void put_length(std::string& frame) noexcept {
  const size_t length = frame.size() - kFrameHead;
  for (size_t i = 1; i < kFrameHead; ++i) frame[i] = static_cast<char>(length >> 8 * (kFrameHead - 1 - i));
}

}  // namespace bebr
