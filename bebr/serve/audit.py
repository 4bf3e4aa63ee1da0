"""The audit log: one line for every call that needs the role admin, refused ones included."""

from __future__ import annotations

import logging

log = logging.getLogger("bebr.audit")


def note(who: str, method: str, what: str, result: str, peer: str) -> None:
    """``who``: the name of a key, "-" without keys; ``result``: the status code; ``peer``: the caller's address."""
    log.info("who=%s call=%s what=%s result=%s from=%s", who, method, what or "-", result, peer or "-")
