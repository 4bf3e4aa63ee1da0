#include "tls.h"

#ifdef BEBR_TLS

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace bebr::test {
namespace {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* it) const {
    Free(it);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freed<&SSL_CTX_free>>;

SSL_CTX* client_context() {
  static const Context made = [] {  // once: it is shared by the threads of all clients
    Context context(SSL_CTX_new(TLS_client_method()));
    const unsigned char protocols[] = {2, 'h', '2'};
    SSL_CTX_set_alpn_protos(context.get(), protocols, sizeof protocols);
    return context;
  }();
  return made.get();
}

void expect(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

}  // namespace

Certificate::Certificate() {
  char name[] = "/tmp/bebr-tls-XXXXXX";
  expect(mkdtemp(name) != nullptr, "no folder");
  folder_ = name;
  certificate = folder_ + "/certificate.pem";
  key = folder_ + "/key.pem";
  const std::unique_ptr<EVP_PKEY_CTX, Freed<&EVP_PKEY_CTX_free>> maker(EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nullptr));
  EVP_PKEY* generated = nullptr;
  expect(EVP_PKEY_keygen_init(maker.get()) == 1 && EVP_PKEY_keygen(maker.get(), &generated) == 1, "no key");
  const std::unique_ptr<EVP_PKEY, Freed<&EVP_PKEY_free>> pair(generated);
  const std::unique_ptr<X509, Freed<&X509_free>> made(X509_new());
  expect(pair && made, "no certificate");
  X509* const it = made.get();
  ASN1_INTEGER_set(X509_get_serialNumber(it), 1);
  X509_gmtime_adj(X509_getm_notBefore(it), -3600);
  X509_gmtime_adj(X509_getm_notAfter(it), 3600);
  X509_set_pubkey(it, pair.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(it), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(it, X509_get_subject_name(it));
  expect(X509_sign(it, pair.get(), nullptr) > 0, "not signed");
  const auto write = [](const std::string& path, const auto& content) {
    FILE* const file = std::fopen(path.c_str(), "w");
    expect(file != nullptr && content(file) == 1, "not written");
    std::fclose(file);
  };
  write(certificate, [&](FILE* file) { return PEM_write_X509(file, it); });
  write(key, [&](FILE* file) { return PEM_write_PrivateKey(file, pair.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

Certificate::~Certificate() {
  unlink(certificate.c_str());
  unlink(key.c_str());
  rmdir(folder_.c_str());
}

struct TlsClient::State {
  std::unique_ptr<SSL, Freed<&SSL_free>> ssl{SSL_new(client_context())};
};

TlsClient::TlsClient(int socket) : state_(std::make_unique<State>()) {
  const timeval most{2, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
  SSL_set_fd(state_->ssl.get(), socket);
  SSL_set_connect_state(state_->ssl.get());
}

TlsClient::~TlsClient() { ERR_clear_error(); }

std::string TlsClient::hello() {
  State state;
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(state.ssl.get(), BIO_new(BIO_s_mem()), out);
  SSL_set_connect_state(state.ssl.get());
  SSL_do_handshake(state.ssl.get());
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out, &bytes);
  std::string found(bytes, static_cast<size_t>(size));
  ERR_clear_error();
  return found;
}

bool TlsClient::shake_hands() { return SSL_do_handshake(state_->ssl.get()) == 1; }

bool TlsClient::send(const std::string& bytes) {
  return bytes.empty() || SSL_write(state_->ssl.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
}

std::string TlsClient::receive() {
  char buffer[16384];
  const int got = SSL_read(state_->ssl.get(), buffer, sizeof buffer);
  return {buffer, static_cast<size_t>(got > 0 ? got : 0)};
}

}  // namespace bebr::test

#endif
