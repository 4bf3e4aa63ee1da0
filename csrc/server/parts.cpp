#include "server/parts.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

#include "messages/reader.h"
#include "messages/writer.h"
#include "server/wire.h"

namespace bebr {
namespace {

constexpr uint64_t kCollection = bytes_field(1), kQueries = bytes_field(2), kK = varint_field(3),
                   kModel = bytes_field(9), kOffset = varint_field(12), kAllow = bytes_field(7),
                   kPartial = varint_field(25);

// Views of a message that stays where it is.
struct PartReply {
  std::string_view ids, scores;
  std::vector<uint32_t> counts;
  std::vector<std::string_view> payloads, keys;
  uint32_t batch = 0;
  size_t rows = 0;

  int64_t id(size_t at) const noexcept {
    int64_t id = 0;
    std::memcpy(&id, ids.data() + at * sizeof id, sizeof id);
    return id;
  }
  float score(size_t at) const noexcept {
    float score = 0;
    std::memcpy(&score, scores.data() + at * sizeof score, sizeof score);
    return score;
  }
};

// Nothing where it is no answer to so many queries, of up to `depth` rows each, or has what is not known here.
std::optional<PartReply> read_reply(std::string_view message, size_t queries, size_t depth) {
  PartReply reply;
  Reader in(message);
  while (in.more()) {
    switch (in.varint(UINT32_MAX)) {
      case bytes_field(1):
        if (!reply.ids.empty()) return std::nullopt;
        reply.ids = in.bytes();
        break;
      case bytes_field(2):
        if (!reply.scores.empty()) return std::nullopt;
        reply.scores = in.bytes();
        break;
      case bytes_field(3): {
        Reader counts(in.bytes());
        while (counts.more() && reply.counts.size() <= queries) {
          reply.counts.push_back(static_cast<uint32_t>(counts.varint(depth)));
          reply.rows += reply.counts.back();
        }
        if (!counts.good()) return std::nullopt;
        break;
      }
      case bytes_field(4):
        reply.payloads.push_back(in.bytes());
        break;
      case varint_field(5):
        in.varint(UINT64_MAX);
        break;
      case varint_field(6):
        reply.batch = in.number();
        break;
      case bytes_field(7):
        reply.keys.push_back(in.bytes());
        break;
      default:
        return std::nullopt;
    }
  }
  if (!in.good() || reply.counts.size() != queries) return std::nullopt;
  if (reply.ids.size() != reply.rows * sizeof(int64_t) || reply.scores.size() != reply.rows * sizeof(float))
    return std::nullopt;
  for (const std::vector<std::string_view>* column : {&reply.payloads, &reply.keys})
    if (!column->empty() && column->size() != reply.rows) return std::nullopt;
  for (size_t i = 0; i < reply.rows; ++i)
    if (reply.id(i) < 0) return std::nullopt;  // one that stands for a row that is missing
  return reply;
}

// In the order of scores, the best one least; those that are no numbers last, 0 and -0 the same.
uint32_t place_of(float score, bool ascending) noexcept {
  if (std::isnan(score)) return UINT32_MAX;
  const auto bits = std::bit_cast<uint32_t>((ascending ? score : -score) + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | uint32_t{1} << 31;
}

struct Hit {
  uint32_t place, reply;
  int64_t id;
  size_t at;  // in its reply

  bool operator<(const Hit& other) const noexcept {
    return std::tie(place, id, reply, at) < std::tie(other.place, other.id, other.reply, other.at);
  }
};

// The fields of a message for which `wanted` holds, as they are.
template <typename Wanted>
std::string fields_of(std::string_view message, size_t most, const Wanted& wanted) {
  std::string out;
  out.reserve(most);
  Reader in(message);
  while (in.more()) {
    const size_t begin = in.at();
    const uint64_t field = in.varint(UINT32_MAX);
    in.skip(field);
    if (wanted(field)) out += message.substr(begin, in.at() - begin);
  }
  return out;
}

}  // namespace

std::string common_fields(std::string_view message, bool several) {
  return fields_of(message, message.size(), [several](uint64_t field) {
    const bool own = field == kK || field == kModel || field == kOffset || field == kAllow;
    return field != kCollection && field != kPartial && !(own && several);
  });
}

std::string kind_fields(std::string_view message) {
  return fields_of(message, 0,
                   [](uint64_t field) { return field != kCollection && field != kQueries && field != kPartial; });
}

std::string part_message(std::string_view common, const PartFields& fields) {
  std::string out(kFrameHead, '\0');
  const size_t allowed = fields.allow ? fields.allow->size() : 0;
  out.reserve(kFrameHead + common.size() + fields.collection.size() + fields.model.size() + allowed + 32);
  put_bytes(out, 1, fields.collection);
  out += common;
  put_number(out, 3, fields.depth);
  if (fields.allow) put_bytes(out, 7, *fields.allow);
  if (!fields.model.empty()) put_bytes(out, 9, fields.model);
  put_length(out);
  return out;
}

std::vector<std::string> divide(std::span<const int64_t> ids, size_t shards) {
  std::vector<std::string> columns(shards);
  for (const int64_t id : ids) {
    auto mixed = static_cast<uint64_t>(id);
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    mixed ^= mixed >> 31;
    columns[mixed % shards].append(reinterpret_cast<const char*>(&id), sizeof id);
  }
  return columns;
}

void mark_whole(std::string& reply) {
  put_number(reply, 9, 1);
  put_bytes(reply, 10, std::string_view("\0", 1));
  put_length(reply);
}

bool merge_parts(const Whole& asked, std::span<const std::string> replies, std::string& out) {
  std::vector<PartReply> parts;
  uint32_t batch = 0;
  bool payloads = false, keys = false;
  for (const std::string& reply : replies) {
    std::optional<PartReply> read =
        read_reply(std::string_view(reply).substr(kFrameHead), asked.queries, asked.k + asked.offset);
    if (!read) return false;
    batch = std::max(batch, read->batch);
    payloads = payloads || !read->payloads.empty();
    keys = keys || !read->keys.empty();
    parts.push_back(std::move(*read));
  }
  std::vector<float> scores(asked.queries * asked.k);
  std::vector<int64_t> ids(asked.queries * asked.k, -1);
  std::vector<size_t> next(parts.size());
  std::vector<Hit> hits;
  RowTexts texts;
  for (size_t query = 0; query < asked.queries; ++query) {
    hits.clear();
    for (uint32_t r = 0; r < parts.size(); ++r)
      for (uint32_t i = 0; i < parts[r].counts[query]; ++i, ++next[r])
        hits.push_back({place_of(parts[r].score(next[r]), asked.ascending), r, parts[r].id(next[r]), next[r]});
    std::sort(hits.begin(), hits.end());
    for (size_t rank = asked.offset; rank < std::min(hits.size(), asked.offset + asked.k); ++rank) {
      const Hit& hit = hits[rank];
      const PartReply& of = parts[hit.reply];
      const size_t to = query * asked.k + rank - asked.offset;
      scores[to] = of.score(hit.at);
      ids[to] = hit.id;
      if (payloads) texts.payloads.push_back(of.payloads.empty() ? std::string_view() : of.payloads[hit.at]);
      if (keys) texts.keys.push_back(of.keys.empty() ? std::string_view() : of.keys[hit.at]);
    }
  }
  Answers answers{scores.data(), ids.data(), asked.queries, asked.k, 0, asked.elapsed_us, batch};
  answers.shards = static_cast<uint32_t>(replies.size());
  write_reply(answers, texts, out);
  return true;
}

}  // namespace bebr
