"""TLS of clients: how they verify the server and encrypt calls."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class TLS:
    """TLS settings of a client, as paths of PEM files.

    ca: the authority that signed the server's certificate; None: the authorities that gRPC knows.
    certificate, key: the client's own, if the server asks for them.
    server_name: the name in the server's certificate, if it is not the host of the target.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError(f"certificate is {self.certificate!r} and key {self.key!r}: want both or neither")


def as_tls(tls: TLS | bool | str | os.PathLike[str] | None) -> TLS | None:
    """What `bebr.connect` takes: True, the path of a CA's certificate, or a `TLS`. None for plain text."""
    if tls is None or tls is False:
        return None
    if isinstance(tls, TLS):
        return tls
    if tls is True:
        return TLS()
    if isinstance(tls, str | os.PathLike):
        return TLS(ca=tls)
    raise ValueError(f"tls is {tls!r}: want True, the path of a CA's certificate, a bebr.TLS, or None")
