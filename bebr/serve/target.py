"""The address of a server, as users write it."""

from __future__ import annotations

import re

DEFAULT_PORT = 7777
_SCHEMES = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:")  # names that gRPC resolves by itself
_WANTED = 'want "host", "host:port", "[IPv6 address]:port" or "unix:PATH"'


def parse_target(target: str) -> str:
    """``target`` as gRPC takes it, with port 7777 where none is named. ``ValueError`` says what is wrong with it."""
    if not isinstance(target, str):
        raise ValueError(f"target is {target!r}: {_WANTED}")
    if target.startswith(_SCHEMES):
        return target
    if "/" in target:
        raise ValueError(f"target is {target!r}: {_WANTED}, without a scheme or a path")
    found = re.fullmatch(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:\[\]]+)(:(?P<port>[^:]*))?", target)
    if found is None and target.count(":") > 1 and re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", target):
        return f"[{target}]:{DEFAULT_PORT}"  # an IPv6 address without brackets
    if found is None:
        raise ValueError(f"target is {target!r}: {_WANTED}")
    host, port = found["host"], found["port"]
    if port is None:
        return f"{host}:{DEFAULT_PORT}"
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"target is {target!r}: got port {port!r}, want 1 to 65535")
    return f"{host}:{int(port)}"


def host_of(target: str) -> str | None:
    """The host of a target that `parse_target` has returned; None for a socket of this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return None
    host = re.sub(r"^(dns:(//[^/]*/)?|ipv4:|ipv6:)", "", target)
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", host)
    return bracketed[1] if bracketed else host.rpartition(":")[0] or host


def socket_address(target: str) -> tuple[str, str] | None:
    """The host and the port of a target that `parse_target` has returned, as a socket takes them; None where gRPC is to
    resolve it."""
    if target.startswith(_SCHEMES):
        return None
    host, _, port = target.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port
