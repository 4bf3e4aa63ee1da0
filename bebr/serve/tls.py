"""What a server shows to its clients under TLS, and what it asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class Tls:
    """PEM files: the server's ``certificate`` (with those that it goes back to) and its ``key``; ``client_ca``: whose
    certificates clients must show, None where they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @staticmethod
    def of(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """None without a certificate. ``ValueError`` for a key or a CA without one, and for one without a key."""
        if certificate is None or key is None:
            if (certificate, key, client_ca) != (None, None, None):
                raise ValueError(
                    f"tls_certificate is {_text(certificate)}, tls_key {_text(key)} and tls_client_ca "
                    f"{_text(client_ca)}: want certificate and key, or none of them"
                )
            return None
        return Tls(certificate, key, client_ca)

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC's own server. ``OSError`` for a file that cannot be read."""
        ca = None if self.client_ca is None else self.client_ca.read_bytes()
        pair = self.key.read_bytes(), self.certificate.read_bytes()
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


def _text(path: Path | None) -> str:
    return "None" if path is None else repr(str(path))
