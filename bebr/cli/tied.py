"""`python -m bebr.cli.tied PID VERB …`: the command `bebr VERB …`, which ends in peace once its parent, PID, is gone.
Actors of Ray start leaves so, and leave none behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from bebr.cli import main

_EVERY = 0.5


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_watch, args=(int(sys.argv.pop(1)),), name="bebr-tied", daemon=True).start()
    main()
