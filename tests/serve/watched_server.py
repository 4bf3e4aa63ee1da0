"""`python -m tests.serve.watched_server DATA PLACE LOG`: a server that writes down each file, program and address that
it touches once it listens, a line each: the event of `sys.addaudithook`, and what it is about."""

from __future__ import annotations

import builtins
import json
import os
import sys

import numpy as np

from bebr.serve import serve

EVENTS = ("open", "os.", "shutil.", "sqlite3.connect", "glob.", "pathlib.", "subprocess.", "socket.", "urllib.", "exec")
# Threads, clocks and sockets that were there are nobody's files.
QUIET = ("os.putenv", "os.unsetenv", "os.fork", "os.kill", "socket.__new__", "socket.bind", "os.setpriority", "exec")


class Producer:
    name, version, dim, metric, modality = "tiny", "1", 4, "cosine", "text|image"

    def embed(self, items: list[object]) -> np.ndarray:
        return np.ones((len(items), 4), np.float32)


def main(data: str, place: str, log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    listening = False

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event.startswith(EVENTS) and event not in QUIET:
            os.write(out, (json.dumps([event, [str(one) for one in arguments]]) + "\n").encode())

    say = builtins.print

    def listens(*words: object, **how: object) -> None:
        nonlocal listening
        listening = True
        say(*words, **how)

    builtins.print = listens
    sys.addaudithook(note)
    serve(data, port=0, snapshots=place, producer=Producer(), log_level="error")


if __name__ == "__main__":
    main(*sys.argv[1:])
