"""A process that is started again whenever it ends."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_log = logging.getLogger("bebr.cluster")

# Seconds before a process is started again: LEAST where it had worked for STEADY seconds, else twice as long as before.
_LEAST, _MOST, _STEADY = 0.25, 8.0, 5.0
# Seconds between two looks at whether it has opened what it has.
_LOOK = 0.5
# What a server prints once it takes calls.
_LISTENING = "listening on "


@dataclass(frozen=True)
class State:
    """`address`: where it takes calls, empty while it does not; `starts`: how often it was started; `opened`: since
    when it has opened all that it has, by the monotonic clock of its machine, None where it has not."""

    pid: int
    address: str
    starts: int
    opened: float | None = None


class Watched:
    """A `bebr leaf` or `bebr root`, by its command. `grace`: seconds that it has to end in peace; `opened`: whether the
    one at an address has opened all that it has."""

    def __init__(
        self, command: Sequence[str], grace: float = 15.0, opened: Callable[[str], bool] | None = None
    ) -> None:
        self._command, self._grace, self._opened = list(command), grace, opened
        self._state = State(0, "", 0)
        self._process: subprocess.Popen[str] | None = None
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="bebr-watch", daemon=True)
        self._thread.start()

    def state(self) -> State:
        return self._state

    def stop(self) -> None:
        """Ends it for good; where it does not end in peace, by force."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(self._grace)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join()

    def _go_on(self) -> None:
        delay = _LEAST
        while (process := self._started()) is not None:
            begun = self._listened(process)
            status = process.wait()
            self._state = State(0, "", self._state.starts)
            steady = begun is not None and time.monotonic() - begun >= _STEADY
            delay = _LEAST if steady else min(2 * delay, _MOST)
            if not self._stopping.wait(delay):
                _log.warning("process %d ended with status %d and is started again", process.pid, status)

    def _started(self) -> subprocess.Popen[str] | None:
        """A new one; None once it is to stop."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            self._state = State(self._process.pid, "", self._state.starts + 1)
            return self._process

    def _listened(self, process: subprocess.Popen[str]) -> float | None:
        """Reads what it says until it ends; when it began to take calls."""
        begun = None
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.startswith(_LISTENING):
                    begun = time.monotonic()
                    state = State(process.pid, line.removeprefix(_LISTENING).strip(), self._state.starts)
                    self._state = state
                    threading.Thread(target=self._look, args=(state,), name="bebr-opened", daemon=True).start()
        return begun

    def _look(self, state: State) -> None:
        """Until it has opened what it has, or is another one."""
        while self._opened is not None and not self._opened(state.address):
            if self._stopping.wait(_LOOK) or self._state is not state:
                return
        if self._state is state:
            self._state = replace(state, opened=time.monotonic())
