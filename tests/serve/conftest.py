from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bebr
from tests.http_client import Http
from tests.serve.awaited import blocking
from tests.serve.forking import Process
from tests.serve.rows import stretched

# Without it, a server that is to have one says on stderr that it has none.
FRONT = importlib.util.find_spec("bebr._front") is not None


class Running:
    """A server in a process of its own. `bebr serve`, as users run it: tests/test_cli.py."""

    def __init__(self, path: Path, **options: object) -> None:
        http = options.pop("http", None)  # a port, or True: a free one
        arguments = {"port": 0, "front": FRONT, **options}
        imports, beside = (
            ("from bebr.http import Http", f"[Http({0 if http is True else http})]") if http else ("", "[]")
        )
        script = f"{imports}\nfrom bebr.serve import serve; serve({str(path)!r}, **{arguments!r}, beside={beside})"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  a pipe that nobody reads would fill up and stop the server
        self.process = Process(script, self._errors)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.process.communicate()
            raise RuntimeError(f"the server said {line!r} and then {self.errors()}")
        self.target = line.split()[-1]
        self.http = self.process.stdout.readline().split()[-1] if http else ""

    def errors(self) -> str:
        """What it has written to stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def computed(self) -> float:
        """Seconds of processor that it has had."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self) -> bebr.serve.client.Client:
        return bebr.connect(self.target)

    def stop(self) -> str:
        """SIGTERM; returns what it wrote to stderr. The exit status must be 0."""
        self.process.terminate()
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0, self.errors()
        return self.errors()

    def kill(self) -> None:
        """SIGKILL: no goodbye of any kind."""
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture(scope="session")
def start() -> Callable[..., contextlib.AbstractContextManager[Running]]:
    """A server for the length of a block: ``with start(path, **options of serve) as server``."""

    @contextlib.contextmanager
    def running(path: Path, **options: object) -> Iterator[Running]:
        server = Running(path, **options)
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()

    return running


@pytest.fixture(scope="session")
def bz(vectors) -> bebr.Binarizer:
    return bebr.train(vectors, widths=[48, 16], metric="cosine", seed=0)


@pytest.fixture(scope="session")
def server(start, tmp_path_factory) -> Iterator[Running]:
    """One server for all tests that do not stop it; each makes collections of its own."""
    with start(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def client(server) -> Iterator[bebr.serve.client.Client]:
    with server.connect() as client:
        yield client


@pytest.fixture(scope="session")
def python_server(start, tmp_path_factory) -> Iterator[Running]:
    """One without a front: Python answers every call."""
    with start(tmp_path_factory.mktemp("served-by-python"), front=False) as running:
        yield running


@pytest.fixture(scope="session")
def http_server(start, tmp_path_factory) -> Iterator[Running]:
    """One that answers HTTP, too."""
    pytest.importorskip("uvicorn", reason="HTTP needs uvicorn: pip install 'bebr[http]'")
    with start(tmp_path_factory.mktemp("served-over-http"), http=True) as running:
        yield running


@pytest.fixture(scope="session")
def shared_db(postgres, tmp_path_factory) -> Iterator[bebr.store.database.Database]:
    """A database in PostgreSQL, for all tests; each makes collections of its own."""
    folder = tmp_path_factory.mktemp("shared")
    with bebr.open(postgres.schema(), segments=f"file://{folder}/segments", cache=folder / "cache") as db:
        yield db


@pytest.fixture(params=["local", "shared", "remote", "remote, without the front", "remote, awaited", "http"])
def db(request, tmp_path):
    """A database in a folder, then one in PostgreSQL, then one on a server: what holds of one holds of the other."""
    if request.param == "local":
        with bebr.open(tmp_path) as local:
            yield local
    elif request.param == "shared":
        yield request.getfixturevalue("shared_db")
    elif request.param == "remote":
        yield request.getfixturevalue("client")
    elif request.param == "remote, awaited":
        with blocking(request.getfixturevalue("server").target) as client:
            yield client
    elif request.param == "http":
        yield Http(request.getfixturevalue("http_server").http)
    else:
        with request.getfixturevalue("python_server").connect() as client:
            yield client


_names = (f"contract-{i}" for i in itertools.count())


@pytest.fixture
def name():
    return next(_names)


@pytest.fixture(scope="session", params=[("cosine", 1), ("ip", 4), ("l2", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def any_bz(request, vectors):
    metric, factor_bytes = request.param
    return bebr.train(stretched(vectors), widths=[48, 16], metric=metric, factor_bytes=factor_bytes, seed=0)
