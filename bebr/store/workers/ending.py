"""What work in the background does when the program ends without `close()`."""

from __future__ import annotations

import threading


class Ending(RuntimeError):
    """The program is: what is being done would come too late."""


def check_running() -> None:
    """Ending once the main thread is through. A daemon thread would end within the extension, and take the process
    with it."""
    if not threading.main_thread().is_alive():
        raise Ending
