"""What a server shows to its clients under TLS, and what it asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from bebr.serve.pem import read_certificates, read_pair


@dataclass(frozen=True)
class Tls:
    """PEM files: the server's ``certificate`` (with those that it goes back to) and its ``key``; ``client_ca``: whose
    certificates clients must show, None where they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @staticmethod
    def of(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """None without a certificate. ``ValueError`` for a key or a CA without one, for one without a key, and for a
        file that is not what it should be; ``OSError`` for one that cannot be read."""
        if certificate is None or key is None:
            if (certificate, key, client_ca) != (None, None, None):
                raise ValueError(
                    f"tls_certificate is {_text(certificate)}, tls_key {_text(key)} and tls_client_ca "
                    f"{_text(client_ca)}: want certificate and key, or none of them"
                )
            return None
        made = Tls(certificate, key, client_ca)
        made._read()
        return made

    def _read(self) -> tuple[tuple[bytes, bytes], bytes | None]:
        certificate, key = read_pair(self.certificate, self.key, ("tls_certificate", "tls_key"))
        ca = None if self.client_ca is None else read_certificates(self.client_ca, "tls_client_ca")
        return (key, certificate), ca

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC's own server; errors as of `of`."""
        pair, ca = self._read()
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


def _text(path: Path | None) -> str:
    return "None" if path is None else repr(str(path))
