#include "server/transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/error.h"

#ifdef BEBR_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

namespace bebr {
namespace {

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(int socket) : socket_(socket) {}

  Status read(uint8_t* to, size_t size, size_t& taken) override {
    const ssize_t got = recv(socket_, to, size, 0);
    taken = got > 0 ? static_cast<size_t>(got) : 0;
    return got > 0 ? Status::Done : got == 0 ? Status::Closed : failed();
  }
  Status write(const uint8_t* from, size_t size, size_t& taken) override {
    const ssize_t sent = send(socket_, from, size, MSG_NOSIGNAL);
    taken = sent > 0 ? static_cast<size_t>(sent) : 0;
    return sent >= 0 ? Status::Done : failed();
  }
  void end() override { ::shutdown(socket_, SHUT_WR); }
  bool buffered() const override { return false; }

 private:
  static Status failed() {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Status::Later : Status::Closed;
  }
  int socket_;
};

}  // namespace

std::unique_ptr<Transport> plain_transport(int socket) { return std::make_unique<PlainTransport>(socket); }

std::string peer_name(int socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  char text[INET6_ADDRSTRLEN] = "";
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return "unix:";
  if (peer.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(peer);
    inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
    return std::string("ipv4:") + text + ":" + std::to_string(ntohs(four.sin_port));
  }
  if (peer.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(peer);
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    return std::string("ipv6:[") + text + "]:" + std::to_string(ntohs(six.sin6_port));
  }
  return "unix:";
}

#ifdef BEBR_TLS

class TlsContext {
 public:
  explicit TlsContext(const TlsFiles& files) : context_(SSL_CTX_new(TLS_server_method())) {
    if (!context_) fail(ErrorCode::LimitExceeded, "no memory for TLS");
    SSL_CTX* const it = context_.get();
    SSL_CTX_set_min_proto_version(it, TLS1_2_VERSION);
    SSL_CTX_set_mode(it,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(it, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    expect(SSL_CTX_use_certificate_chain_file(it, files.certificate.c_str()), "certificate", files.certificate);
    expect(SSL_CTX_use_PrivateKey_file(it, files.key.c_str(), SSL_FILETYPE_PEM), "key", files.key);
    expect(SSL_CTX_check_private_key(it), "key", files.key);
    if (!files.client_ca.empty()) {
      expect(SSL_CTX_load_verify_locations(it, files.client_ca.c_str(), nullptr), "client CA", files.client_ca);
      SSL_CTX_set_verify(it, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      const unsigned char session[] = "bebr";
      SSL_CTX_set_session_id_context(it, session, sizeof session - 1);
    }
    SSL_CTX_set_alpn_select_cb(it, &select_h2, nullptr);
  }
  SSL* get() const { return SSL_new(context_.get()); }

 private:
  static void expect(int result, const char* what, const std::string& path) {
    if (result == 1) return;
    char text[256] = "";
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    fail(ErrorCode::InvalidArgument, std::string("TLS ") + what + " " + path + " cannot be used: " + text);
  }
  static int select_h2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                       unsigned int offered_size, void*) {
    static const unsigned char wanted[] = {2, 'h', '2'};
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, size, wanted, sizeof wanted, offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
  }
  struct Free {
    void operator()(SSL_CTX* it) const { SSL_CTX_free(it); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
};

namespace {

class TlsTransport final : public Transport {
 public:
  TlsTransport(const TlsContext& context, int socket) : ssl_(context.get()), socket_(socket) {
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket) != 1) fail(ErrorCode::LimitExceeded, "no memory for TLS");
    SSL_set_accept_state(ssl_.get());
  }
  Status read(uint8_t* to, size_t size, size_t& taken) override {
    taken = 0;
    return status(SSL_read_ex(ssl_.get(), to, size, &taken));
  }
  Status write(const uint8_t* from, size_t size, size_t& taken) override {
    taken = 0;
    return status(SSL_write_ex(ssl_.get(), from, size, &taken));
  }
  void end() override {
    if (SSL_shutdown(ssl_.get()) < 0) ERR_clear_error();
    ::shutdown(socket_, SHUT_WR);
  }
  bool buffered() const override { return SSL_pending(ssl_.get()) > 0; }

 private:
  Status status(int result) {
    if (result == 1) return Status::Done;
    const int error = SSL_get_error(ssl_.get(), result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? Status::Later : Status::Closed;
  }
  struct Free {
    void operator()(SSL* it) const { SSL_free(it); }
  };
  std::unique_ptr<SSL, Free> ssl_;
  int socket_;
};

}  // namespace

bool tls_built() noexcept { return true; }

std::shared_ptr<const TlsContext> make_tls(const TlsFiles& files) {
  return files.certificate.empty() ? nullptr : std::make_shared<const TlsContext>(files);
}

std::unique_ptr<Transport> tls_transport(const TlsContext& context, int socket) {
  return std::make_unique<TlsTransport>(context, socket);
}

#else

class TlsContext {};

bool tls_built() noexcept { return false; }

std::shared_ptr<const TlsContext> make_tls(const TlsFiles& files) {
  if (files.certificate.empty()) return nullptr;
  fail(ErrorCode::InvalidArgument, "this front was built without TLS: libssl-dev was not found");
}

std::unique_ptr<Transport> tls_transport(const TlsContext&, int socket) { return plain_transport(socket); }

#endif

}  // namespace bebr
