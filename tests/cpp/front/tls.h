// TLS as a client of a front speaks it, and breaks it.
#pragma once

#include <memory>
#include <string>

namespace bebr::test {

// A certificate that signed itself, in files that go with this.
class Certificate {
 public:
  Certificate();
  ~Certificate();
  std::string certificate, key;  // paths

 private:
  std::string folder_;
};

// The end of a connection at which TLS begins. The socket waits at most 2 s and stays the caller's.
class TlsClient {
 public:
  explicit TlsClient(int socket);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // The bytes with which it begins.
  static std::string hello();
  bool shake_hands();
  bool send(const std::string& bytes);
  // What came; empty: nothing any more.
  std::string receive();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bebr::test
