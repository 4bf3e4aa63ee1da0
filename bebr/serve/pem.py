"""What is wrong with the PEM files of a server or a client, said before gRPC and OpenSSL say less."""

from __future__ import annotations

import os
import ssl
from pathlib import Path


def read_certificates(path: str | os.PathLike[str], name: str) -> bytes:
    """The certificates of a PEM file. ``ValueError`` that names the file where it has none or one is damaged;
    ``OSError`` where it cannot be read."""
    data = Path(path).read_bytes()
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ValueError(f"{name} is {os.fspath(path)!r}: it has no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{name} is {os.fspath(path)!r}: a certificate in it is damaged ({_reason(error)})") from None
    return data


def read_pair(
    certificate: str | os.PathLike[str], key: str | os.PathLike[str], names: tuple[str, str]
) -> tuple[bytes, bytes]:
    """A certificate and its key, as PEM; errors as of `read_certificates`. ``names``: of the two arguments."""
    shown = read_certificates(certificate, names[0])
    hidden = Path(key).read_bytes()
    wrong = f"{names[1]} is {os.fspath(key)!r}: "
    if b"PRIVATE KEY-----" not in hidden:
        raise ValueError(wrong + "it has no key in PEM (-----BEGIN PRIVATE KEY-----)")

    def passphrase() -> str:
        raise ValueError(wrong + "it is encrypted, want it without a passphrase")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(wrong + f"it is not the key of the certificate {os.fspath(certificate)!r}") from None
        raise ValueError(wrong + f"it cannot be used ({_reason(error)})") from None
    return shown, hidden


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
