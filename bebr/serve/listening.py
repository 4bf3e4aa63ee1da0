"""Where a server may listen without asking who calls."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether every address of ``host`` is of this machine alone. A name that has no address is not."""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return bool(addresses) and all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)


def check_host(host: str, keys: bool, insecure: bool) -> None:
    """``ValueError`` for an address that others reach, where neither keys nor ``insecure`` were chosen."""
    if keys or insecure or is_loopback(host):
        return
    raise ValueError(
        f"host is {host!r} and the folder has no keys: whoever reaches it might drop every collection. Make keys by "
        "`bebr keys create`, listen on 127.0.0.1, ask for certificates (--tls-client-ca), "
        "or say --insecure (insecure=True)"
    )
