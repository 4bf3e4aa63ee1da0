"""The server's log: lines of text or JSON with time, level and request id; slow calls with what they did."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from bebr.serve import audit
from bebr.serve.calls import Call, Search, current_call

LogFormat = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")

# A caller's word for a collection may be as long as a message.
_LONGEST = 128

_log = logging.getLogger("bebr.serve.calls")


class CallLog:
    """Calls of ``slow_ms`` and more as warnings, the others at level debug. ``slow_ms`` None: none is slow.
    ``settings`` returns those of ``log_level`` and ``slow_ms`` that are to hold, whenever `reread` is called."""

    def __init__(self, slow_ms: float | None, settings: Callable[[], Mapping[str, Any]] | None = None) -> None:
        self._slow_ms = slow_ms
        self._settings = settings
        self._watcher: Callable[[bool], None] = lambda _: None

    @property
    def wanted(self) -> bool:
        """Whether it may say something of a call."""
        return self._slow_ms is not None or _log.isEnabledFor(logging.DEBUG)

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Has it told, now and whenever settings were read, whether the log may say something of a call."""
        self._watcher = watcher
        watcher(self.wanted)

    def note(self, call: Call) -> None:
        """A call has ended."""
        if self._slow_ms is not None and call.elapsed >= self._slow_ms * 1e6:
            _log.warning("slow call", extra={"fields": about(call)})
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("call", extra={"fields": about(call)})

    def reread(self) -> None:
        """Takes settings anew, all or, where one of them is wrong, none. What it did is logged."""
        if self._settings is None:
            _log.warning("SIGHUP: there is no file of settings to read")
            return
        try:
            settings = self._settings()
            slow_ms = settings.get("slow_ms", self._slow_ms)
            if slow_ms is not None and not (type(slow_ms) in (int, float) and slow_ms >= 0):
                raise ValueError(f"slow_ms is {slow_ms!r}: want a number of milliseconds")
            if "log_level" in settings:
                set_level(settings["log_level"])
        except (ValueError, OSError) as error:
            _log.error("SIGHUP: settings stay as they were: %s", error)
            return
        self._slow_ms = slow_ms
        self._watcher(self.wanted)
        _log.warning("SIGHUP: settings read", extra={"fields": dict(settings)})


def start_log(form: LogFormat, level: str) -> None:
    """Writes bebr's log to stderr, the audit log too; in its form also what libraries warn of, as uvicorn does of what
    is no HTTP, unless the program has a handler for them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    log = logging.getLogger("bebr")
    log.handlers[:] = [handler]
    log.propagate = False
    logging.captureWarnings(True)
    others = logging.getLogger()
    if not others.handlers:
        others.addHandler(handler)
    audit.log.setLevel(logging.INFO)  # whatever the others' level
    set_level(level)


def set_level(level: str) -> None:
    """``level``: one of LEVELS. ``ValueError`` for another."""
    if level not in LEVELS:
        raise ValueError(f"log_level is {level!r}: want {', '.join(LEVELS)}")
    logging.getLogger("bebr").setLevel(level.upper())


def about(call: Call) -> dict[str, Any]:
    """What a call did: times in milliseconds, and of a search what it asked for and read."""
    fields: dict[str, Any] = {
        "method": call.method,
        "collection": call.collection[:_LONGEST],
        "peer": call.peer,
        "code": call.code,
        "ms": _ms(call.elapsed),
        "queue_ms": _ms(call.queued),
        "search_ms": _ms(call.searched),
    }
    return fields if call.search is None else {**fields, **_searched(call.search)}


def _searched(search: Search) -> dict[str, object]:
    options, snapshot = search.options, search.snapshot
    fields: dict[str, object] = {"queries": search.queries, "k": options.k, "plan": _plan(search)}
    if snapshot is not None:
        rows = len(snapshot)
        fields |= {"batch": search.batch, "scanned": search.work.scanned, "survivors": search.work.survivors}
        fields |= {"rows": rows, "segments": len(snapshot.segments)}
        if options.filter is not None:
            fields["filter_share"] = round(snapshot.count(options.filter) / max(rows, 1), 6)
    return fields


# Options of a search that are numbers.
_VALUED = ("oversampling", "nprobe", "ef_search", "rescore", "radius")


def _plan(search: Search) -> str:
    """What the search was told to do; "codes" where it was told nothing: candidates by code, as many as k needs."""
    options = search.options
    named = {"exact": options.exact, "sdc": options.query != "float", "filter": options.filter is not None}
    words = [name for name, used in named.items() if used]
    valued = ((name, getattr(options, name)) for name in _VALUED)
    words += [f"{name}={value}" for name, value in valued if value is not None]
    return " ".join(words) or "codes"


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)


def _parts(record: logging.LogRecord) -> tuple[str, str, Mapping[str, object]]:
    """Time, request id and fields."""
    when = datetime.fromtimestamp(record.created, timezone.utc)
    call = current_call()
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z"), call.request_id if call else "", fields


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when, request, fields = _parts(record)
        words = [f"{name}={json.dumps(value)}" for name, value in fields.items()]
        line = " ".join([when, record.levelname, record.name, request or "-", record.getMessage(), *words])
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when, request, fields = _parts(record)
        line: dict[str, object] = {
            "time": when,
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": request,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
