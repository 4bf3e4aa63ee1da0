#include "wild.h"

#include <algorithm>

#include "behind.h"

namespace bebr::test {
namespace {

void put_varint(std::string& out, uint64_t value) {
  for (; value > 127; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

std::string framed(const std::string& message) {
  std::string out(5, '\0');
  for (size_t i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(message.size() >> 8 * (3 - i));
  return out + message;
}

// Frames as a client may send them, with headers as literals: no state is shared, so any may be changed.
class Frames {
 public:
  explicit Frames(std::mt19937& random) : random_(random) {}

  size_t up_to(size_t n) { return random_() % (n + 1); }
  bool one_in(size_t n) { return random_() % n == 0; }

  std::string frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
    std::string out;
    for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(payload.size() >> shift));
    out.push_back(static_cast<char>(type));
    out.push_back(static_cast<char>(flags));
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(stream >> shift));
    return out + payload;
  }
  std::string number(uint32_t value) {
    std::string out;
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(value >> shift));
    return out;
  }
  std::string literal(const std::string& name, const std::string& value) {
    std::string out(1, '\0');
    for (const std::string* text : {&name, &value}) {
      if (text->size() < 127) {
        out.push_back(static_cast<char>(text->size()));
      } else {
        out.push_back(127);
        put_varint(out, text->size() - 127);
      }
      out += *text;
    }
    return out;
  }

  // One call: headers, a message in pieces, and what may come in between.
  void call(uint32_t id, std::vector<std::string>& out) {
    static const char* const paths[] = {"/bebr.v1.Points/Search",
                                        "/bebr.v1.Points/Search",
                                        "/bebr.v1.Points/Search",
                                        "/bebr.v1.Collections/List",
                                        "/echo",
                                        "/empty",
                                        "/big",
                                        "/late",
                                        "/reset",
                                        "/early",
                                        "/gone"};
    const std::string path = paths[random_() % (one_in(8) ? 11 : 10)];
    std::string headers = literal(":method", "POST") + literal(":scheme", "http") + literal(":path", path) +
                          literal(":authority", "x") + literal("te", "trailers") +
                          literal("content-type", "application/grpc");
    static const char* const timeouts[] = {"1m", "5u", "1S", "99999999H", "x", "20m"};
    if (one_in(4)) headers += literal("grpc-timeout", timeouts[random_() % 6]);
    if (one_in(20)) headers += literal("x-long", std::string(up_to(40'000), 'y'));
    if (one_in(3)) headers += literal("authorization", one_in(2) ? "Bearer all" : one_in(2) ? "Bearer none" : "Basic");
    if (one_in(5)) headers += literal("x-request-id", one_in(2) ? "mine" : std::string(up_to(300), 'z'));
    static const char* const names[] = {"small", "large", "slow", "keyed", "nothing"};
    std::string body = search_message(names[random_() % 5], static_cast<float>(up_to(1000)),
                                      static_cast<uint32_t>(1 + up_to(one_in(10) ? 40'000 : 20)));
    if (one_in(5)) body = rows_message(names[random_() % 5], std::vector<int64_t>(up_to(4), one_in(3) ? 13 : 8), 3);
    if (path == "/bebr.v1.Collections/List" && !one_in(3)) body = framed("");
    if (one_in(3)) body = framed(body.substr(5) + "\x40\x01");         // payloads
    if (one_in(5)) body = framed(body.substr(5) + "\x52\x05{\"a\"}");  // a filter
    if (one_in(5)) body = with(body, allowed(std::vector<int64_t>(up_to(one_in(4) ? 9'000 : 20), one_in(9) ? -1 : 7)));
    if (one_in(5)) body = with(body, grouped(one_in(9) ? "other" : "n", static_cast<uint32_t>(1 + up_to(4))));
    if (one_in(3))
      for (size_t i = 0; i <= up_to(3); ++i) body[up_to(body.size() - 1)] = static_cast<char>(random_());
    if (one_in(8)) body.resize(up_to(body.size()));
    if (one_in(12)) body += search_message("small", 1, 1);
    if (one_in(15)) body = framed(std::string(up_to(200'000), 'z'));
    const bool bare = one_in(15);
    if (headers.size() <= 16'000) {
      out.push_back(frame(1, static_cast<uint8_t>(4 | (bare ? 1 : 0)), id, headers));
    } else {
      out.push_back(frame(1, 0, id, headers.substr(0, 16'000)));
      for (size_t at = 16'000; at < headers.size(); at += 16'000)
        out.push_back(frame(9, at + 16'000 < headers.size() ? 0 : 4, id, headers.substr(at, 16'000)));
    }
    if (bare) return;
    for (size_t at = 0; at < body.size();) {
      const size_t n = std::min<size_t>(1 + up_to(one_in(2) ? 20 : 16'000), std::min<size_t>(16'384, body.size() - at));
      at += n;
      const bool last = at == body.size();
      out.push_back(frame(0, last && !one_in(10) ? 1 : 0, id, body.substr(at - n, n)));
      if (one_in(40)) out.push_back(other(id));
      if (out.size() > 400) break;
    }
    if (one_in(6)) out.push_back(frame(3, 0, id, number(one_in(2) ? 8 : static_cast<uint32_t>(up_to(20)))));
  }

  std::string other(uint32_t id) {
    switch (random_() % 8) {
      case 0:
        return frame(6, static_cast<uint8_t>(up_to(1)), 0, std::string(8, 'p'));
      case 1:
        return frame(8, 0, one_in(2) ? 0 : id, number(static_cast<uint32_t>(one_in(3) ? 0x7fffffff : up_to(100'000))));
      case 2:
        return frame(4, 0, 0, std::string("\0\4", 2) + number(static_cast<uint32_t>(up_to(one_in(2) ? 0 : 100'000))));
      case 3:
        return frame(3, 0, id, number(8));
      case 4:
        return frame(2, 0, id, number(0) + "\x10");
      case 5:
        return frame(7, 0, 0, number(0) + number(0));
      case 6:
        return frame(static_cast<uint8_t>(random_()), static_cast<uint8_t>(random_()), id, std::string(up_to(30), 'q'));
      default:
        return frame(4, 1, 0, "");
    }
  }

 private:
  std::mt19937& random_;
};

}  // namespace

std::string search_message(const std::string& collection, float first, uint32_t k) {
  float query[kDim] = {first, 1, 2, 3};
  std::string vectors = "\x0a";
  put_varint(vectors, sizeof query);
  vectors.append(reinterpret_cast<const char*>(query), sizeof query);
  vectors += "\x18";
  put_varint(vectors, kDim);
  vectors += "\x20\x01";
  std::string message = "\x0a";
  put_varint(message, collection.size());
  message += collection + "\x12";
  put_varint(message, vectors.size());
  message += vectors + "\x18";
  put_varint(message, k);
  return framed(message);
}

namespace {

std::string column(const std::string& field, const std::vector<int64_t>& ids) {
  std::string out = field;
  put_varint(out, ids.size() * sizeof(int64_t));
  return out.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int64_t));
}

}  // namespace

std::string allowed(const std::vector<int64_t>& ids) { return column("\x3a", ids); }

std::string grouped(const std::string& by, uint32_t size) {
  std::string out = "\x82\x01";
  put_varint(out, by.size());
  out += by + "\x88\x01";
  put_varint(out, size);
  return out;
}

std::string rows_message(const std::string& collection, const std::vector<int64_t>& ids, uint32_t k) {
  std::string message = "\x0a";
  put_varint(message, collection.size());
  message += collection + column("\x6a", ids) + "\x18";
  put_varint(message, k);
  return framed(message);
}

std::string with(const std::string& message, const std::string& fields) { return framed(message.substr(5) + fields); }

std::vector<std::string> honest_connection(std::mt19937& random, const std::string& authorization) {
  Frames frames(random);
  const std::string headers = frames.literal(":method", "POST") + frames.literal(":scheme", "https") +
                              frames.literal(":path", "/bebr.v1.Points/Search") + frames.literal(":authority", "x") +
                              frames.literal("te", "trailers") + frames.literal("content-type", "application/grpc") +
                              frames.literal("authorization", authorization);
  return {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.frame(4, 0, 0, ""), frames.frame(1, 4, 1, headers),
          frames.frame(0, 1, 1, search_message("small", 40, 10))};
}

std::vector<std::string> random_connection(std::mt19937& random) {
  Frames frames(random);
  std::string settings;
  if (frames.one_in(3)) settings += std::string("\0\4", 2) + frames.number(static_cast<uint32_t>(frames.up_to(70'000)));
  std::vector<std::string> out = {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.frame(4, 0, 0, settings)};
  const size_t calls = 1 + frames.up_to(6);
  for (size_t i = 0; i < calls; ++i) frames.call(static_cast<uint32_t>(2 * i + 1), out);
  if (frames.one_in(3)) out.push_back(frames.other(1));
  if (frames.one_in(2)) return out;
  for (size_t i = 0; i <= frames.up_to(4); ++i) {  // changed bytes, mostly of the heads of frames
    std::string& piece = out[frames.up_to(out.size() - 1)];
    piece[frames.up_to(std::min<size_t>(piece.size() - 1, frames.one_in(2) ? 8 : 100))] = static_cast<char>(random());
  }
  return out;
}

}  // namespace bebr::test
