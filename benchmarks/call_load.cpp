// A client of a bebr server that costs less than what it measures: searches of one query over HTTP/2, so many at a
// time.
//
//   bebr_call_load HOST PORT COLLECTION DIM OUTSTANDING CONNECTIONS SECONDS PID
//
// prints one line of JSON: calls a second, the quantiles 0, .001, … 1 of their latency in µs, and the CPU time in µs
// that the process PID and this one took for a call. With ROUNDS behind PID it makes so many times OUTSTANDING calls
// instead, those of a round sent together and all awaited, and prints how many were "wrong".
//
// PORT, COLLECTION and PID may be lists with commas between: connections take the ports and collections by turns, and
// the CPU time is that of each of the processes.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kQuantiles = 1001;

// CPU time of a process; 0 where there is none.
double seconds_of(const std::string& pid) {
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(std::stoi(pid), &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

double own_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream from(text);
  for (std::string part; std::getline(from, part, ',');) parts.push_back(part);
  return parts;
}

void put_varint(std::string& out, uint64_t value) {
  for (; value > 127; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

std::string request(const std::string& collection, size_t dim, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> query(dim);
  for (float& value : query) value = normal(random);
  std::string vectors = "\x0a";
  put_varint(vectors, 4 * dim);
  vectors.append(reinterpret_cast<const char*>(query.data()), 4 * dim);
  vectors += "\x18";
  put_varint(vectors, dim);
  vectors += "\x20\x01";
  std::string message = "\x0a";
  put_varint(message, collection.size());
  message += collection + "\x12";
  put_varint(message, vectors.size());
  message += vectors + "\x18\x0a";  // k = 10
  std::string framed(5, '\0');
  for (size_t i = 0; i < 4; ++i) framed[1 + i] = static_cast<char>(message.size() >> 8 * (3 - i));
  return framed + message;
}

struct Call {
  const std::string* body = nullptr;
  size_t at = 0;
  Clock::time_point begin;
  bool good = false;
};

struct Load;
struct Connection {
  Load* load = nullptr;
  const std::vector<std::string>* bodies = nullptr;
  int socket = -1;
  nghttp2_session* session = nullptr;
  std::string out;
  std::unordered_map<int32_t, Call> calls;
};

struct Load {
  size_t next = 0, wrong = 0;
  bool measuring = false, repeats = true;
  std::vector<double> latencies;

  void begin(Connection& on) {
    static const auto nv = [](const char* name, const char* value) {
      return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name)),
                        reinterpret_cast<uint8_t*>(const_cast<char*>(value)), std::strlen(name), std::strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
    };
    static const nghttp2_nv headers[] = {nv(":method", "POST"),
                                         nv(":scheme", "http"),
                                         nv(":path", "/bebr.v1.Points/Search"),
                                         nv(":authority", "localhost"),
                                         nv("te", "trailers"),
                                         nv("content-type", "application/grpc"),
                                         nv("user-agent", "grpc-c++/1.80.0")};
    nghttp2_data_provider provider{};
    provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags,
                                nghttp2_data_source*, void* user) -> ssize_t {
      Call& call = static_cast<Connection*>(user)->calls[id];
      const size_t n = std::min(size, call.body->size() - call.at);
      std::memcpy(to, call.body->data() + call.at, n);
      call.at += n;
      if (call.at == call.body->size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    const int32_t id = nghttp2_submit_request(on.session, nullptr, headers, 7, &provider, nullptr);
    on.calls[id] = {&(*on.bodies)[next++ % on.bodies->size()], 0, Clock::now(), false};
  }
};

nghttp2_session* session_of(Connection& of) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
        if (name_size == 11 && std::memcmp(name, "grpc-status", 11) == 0)
          static_cast<Connection*>(user)->calls[frame->hd.stream_id].good = value_size == 1 && *value == '0';
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session*, int32_t id, uint32_t,
                                                                       void* user) {
    Connection& on = *static_cast<Connection*>(user);
    Load& load = *on.load;
    const auto found = on.calls.find(id);
    if (found == on.calls.end()) return 0;
    if (!found->second.good) ++load.wrong;
    if (load.measuring)
      load.latencies.push_back(std::chrono::duration<double, std::micro>(Clock::now() - found->second.begin).count());
    on.calls.erase(found);
    if (load.repeats) load.begin(on);
    return 0;
  });
  nghttp2_session* made = nullptr;
  nghttp2_session_client_new(&made, callbacks, &of);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(made, 0, nullptr, 0);
  return made;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 9 && count != 10) {
    std::fprintf(stderr,
                 "usage: bebr_call_load HOST PORT COLLECTION DIM OUTSTANDING CONNECTIONS SECONDS PID [ROUNDS]\n");
    return 2;
  }
  const std::vector<std::string> ports = split(arguments[2]), collections = split(arguments[3]),
                                 pids = split(arguments[8]);
  if (ports.empty() || collections.empty()) return 2;
  Load load;
  std::vector<std::vector<std::string>> bodies;
  for (const std::string& collection : collections) {
    std::mt19937 random(1);  // the same queries of each
    std::vector<std::string>& of = bodies.emplace_back();
    for (int i = 0; i < 256; ++i) of.push_back(request(collection, std::strtoul(arguments[4], nullptr, 10), random));
  }
  std::vector<Connection> connections(std::strtoul(arguments[6], nullptr, 10));
  std::vector<pollfd> polled;
  for (Connection& one : connections) {
    const size_t number = polled.size();
    one.load = &load;
    one.bodies = &bodies[number % bodies.size()];
    one.socket = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(ports[number % ports.size()])));
    inet_pton(AF_INET, arguments[1], &address.sin_addr);
    if (connect(one.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 1;
    const int on = 1;
    setsockopt(one.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    one.session = session_of(one);
    polled.push_back({one.socket, POLLIN, 0});
  }
  int rounds = count == 10 ? std::atoi(arguments[9]) : 0;
  load.repeats = rounds == 0;
  const auto begin = [&] {
    for (int i = 0; i < std::atoi(arguments[5]); ++i)
      load.begin(connections[static_cast<size_t>(i) % connections.size()]);
  };
  begin();
  const auto warm = Clock::now() + std::chrono::milliseconds(500);
  const auto end =
      warm + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::atof(arguments[7])));
  Clock::time_point begun;
  std::vector<double> servers;
  double own = 0, wall = 0;
  static uint8_t buffer[1 << 18];
  for (;;) {
    const auto now = Clock::now();
    if (load.repeats && !load.measuring && now >= warm) {
      load.measuring = true;
      begun = now;
      for (const std::string& pid : pids) servers.push_back(seconds_of(pid));
      own = own_seconds();
    }
    const auto waits = [](const Connection& one) { return !one.calls.empty(); };
    if (!load.repeats && std::none_of(connections.begin(), connections.end(), waits)) {
      if (--rounds == 0) return std::printf("{\"wrong\": %zu}\n", load.wrong) < 0;
      begin();
    }
    if (load.repeats && now >= end) {
      wall = std::chrono::duration<double>(now - begun).count();
      for (size_t i = 0; i < servers.size(); ++i) servers[i] = seconds_of(pids[i]) - servers[i];
      own = own_seconds() - own;
      break;
    }
    for (Connection& one : connections) {
      const uint8_t* bytes = nullptr;
      for (ssize_t n = 0; (n = nghttp2_session_mem_send(one.session, &bytes)) > 0;)
        one.out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
      for (size_t at = 0; at < one.out.size();) {
        const ssize_t n = send(one.socket, one.out.data() + at, one.out.size() - at, MSG_NOSIGNAL);
        if (n <= 0) return 1;
        at += static_cast<size_t>(n);
      }
      one.out.clear();
    }
    if (poll(polled.data(), polled.size(), 1000) < 0) return 1;
    for (size_t i = 0; i < connections.size(); ++i) {
      if ((polled[i].revents & (POLLIN | POLLHUP)) == 0) continue;
      const ssize_t n = recv(connections[i].socket, buffer, sizeof buffer, 0);
      if (n <= 0 || nghttp2_session_mem_recv(connections[i].session, buffer, static_cast<size_t>(n)) < 0) return 1;
    }
  }
  std::vector<double>& all = load.latencies;
  if (all.empty()) return 1;
  std::sort(all.begin(), all.end());
  const auto calls = static_cast<double>(all.size());
  const auto list = [](const char* name, size_t n, const auto& of) {
    std::printf("\"%s\": [", name);
    for (size_t i = 0; i < n; ++i) std::printf(i == 0 ? "%.2f" : ", %.2f", of(i));
    std::printf("], ");
  };
  std::printf("{\"calls_per_second\": %.1f, \"client_us\": %.2f, \"wrong\": %zu, ", calls / wall, own / calls * 1e6,
              load.wrong);
  list("quantiles_us", kQuantiles, [&](size_t i) { return all[(all.size() - 1) * i / (kQuantiles - 1)]; });
  list("each_us", servers.size(), [&](size_t i) { return servers[i] / calls * 1e6; });
  std::printf("\"calls\": %zu}\n", all.size());
  return 0;
}
