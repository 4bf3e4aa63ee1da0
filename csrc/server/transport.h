// The bytes of a connection, plain or under TLS, without waiting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace bebr {

// PEM files. client_ca: whose certificates clients must show; empty: they need none.
struct TlsFiles {
  std::string certificate, key, client_ca;
};

class TlsContext;
// Null where no certificate is named. Throws Error(InvalidArgument) naming a file that cannot be used, and where the
// front was built without TLS.
std::shared_ptr<const TlsContext> make_tls(const TlsFiles& files);
bool tls_built() noexcept;

class Transport {
 public:
  enum class Status { Done, Later, Closed };
  virtual ~Transport() = default;
  // Up to `size` bytes; `taken`: how many. Later: none now; Closed: none ever.
  virtual Status read(uint8_t* to, size_t size, size_t& taken) = 0;
  virtual Status write(const uint8_t* from, size_t size, size_t& taken) = 0;
  // No more is written: the other end is told so, after all that was.
  virtual void end() = 0;
  // Whether bytes may be there that no event will tell of.
  virtual bool buffered() const = 0;
};

// Of a socket that does not block, which stays the caller's.
std::unique_ptr<Transport> plain_transport(int socket);
std::unique_ptr<Transport> tls_transport(const TlsContext& context, int socket);

// Who is at the other end, as gRPC writes it: "ipv4:10.0.0.7:51234", "ipv6:[::1]:51234"; "unix:" for all else.
std::string peer_name(int socket);

}  // namespace bebr
