"""A headless Chromium, spoken to by its own protocol over a pipe: nothing else needs to be installed."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SECONDS = 60.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers, and load pages of their own server alone
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """The path of one; None where none is installed."""
    return next((path for path in map(shutil.which, _NAMES) if path), None)


class Page:
    """One tab. `errors`: what its console said of mistakes and of what the policy has blocked; `requests`: addresses
    that it asked for."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
            self._event(found)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def _event(self, found: dict[str, Any]) -> None:
        values = found.get("params", {})
        if found.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        elif found.get("method") == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(f"{values['entry'].get('url', '')}: {values['entry']['text']}")
        elif found.get("method") == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def show(self, address: str, width: int, height: int = 900, dark: bool = False) -> None:
        """Loads a page at a width in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition} is not true; the page says: {self.run('document.body.innerText')}")
            time.sleep(0.05)

    def picture(self, path: Path, height: float = float("inf")) -> None:
        """The page as PNG, at most so many pixels of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height), "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        # 64 colours are enough for a page of text and curves, and a third of the bytes.
        Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB").quantize(64).save(path, optimize=True)


@contextlib.contextmanager
def opened(chromium: str) -> Iterator[Page]:
    """A tab of a browser of its own, for the length of a block."""
    commands, write = os.pipe()
    read, answers = os.pipe()

    def pipes() -> None:  # the browser reads 3 and writes 4
        high = [os.dup2(one, other) for one, other in ((commands, 203), (answers, 204))]
        for one, other in zip(high, (3, 4), strict=True):
            os.dup2(one, other)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        started = subprocess.Popen(
            [chromium, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pipes,
            pass_fds=(3, 4),
        )
        os.close(commands)
        os.close(answers)
        try:
            yield Page(read, write)
        finally:
            started.terminate()
            started.wait(30)
            os.close(read)
            os.close(write)
