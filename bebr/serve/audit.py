"""The audit log: one line for every call that needs the role admin, refused ones included."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("bebr.audit")


def note(who: str, method: str, what: str, result: str) -> None:
    """``who``: the name of a key, "-" without keys; ``result``: the status code."""
    log.info("who=%s call=%s what=%s result=%s", who, method, what or "-", result)


def to_stderr() -> None:
    """Sends the lines to stderr, unless the application has said where they go."""
    if log.handlers or log.level:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s audit %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
