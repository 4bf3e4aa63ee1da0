"""Instructions of a call, by part: in the front, in the search itself, and of `Collection.search` in this process.

    python -m benchmarks.call_instructions [--python] [--json FILE]

No speed is measured, so a busy machine does not matter. Each figure is the difference between a longer and a shorter
run under callgrind, so nothing of a program's start is in it.

* **front**: a front whose searches cost nothing (benchmarks/call_counted.cpp), 1, 8 and 64 calls sent together, all
  answered before the next are sent. What the system does for it is not counted; its calls of the system are, by
  strace. Once more, 64 together, while it counts them for metrics. "handed over": where they are of so many rows that
  threads beside its loop search.
* **search**: the engine's search of 2,000 rows, 1 and 64 queries a kernel call. Callgrind knows no AVX-512: it is the
  AVX2 code that is counted.
* **embedded** (only with `--python`; minutes): all that Python does for `Collection.search` of one query, the
  engine's search left out.
* **client** (only with `--python`): all that the process of `bebr.connect` does for a search of one query, by library.
  The server beside it is not counted.

Needs valgrind and strace.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

import bebr
from benchmarks import machine, output
from benchmarks.call_server import serving
from benchmarks.calls import NAME, make, rows_of
from benchmarks.kernels import built

NEEDS = ("valgrind", "strace")
DIM, ROWS = 384, 2000
FEW, MANY = 1000, 1_000_000  # rows of a front's searches: its loop answers the ones, hands over the others
OUTSTANDING, BATCHES = (1, 8, 64), (1, 64)
_CALLS = 640  # more in the longer run
_SEARCHES, _ASKED = 128, 2048
# By names of functions and, where these say nothing, of libraries: the part that a function belongs to. The first one
# counts.
PARTS = {
    "memory": r"malloc|\bfree\b|calloc|realloc|_int_|unlink_chunk|operator (new|delete)|SessionMemory|arena",
    "copies": r"mem(cpy|move|set|cmp|chr)|strlen",
    "HTTP/2": r"nghttp2",
    "request and reply": r"read_(search|queries|vectors)|good_queries|load_queries|write_reply|put_varint|Answers::",
    "connections": r"bebr::(Connection|Callbacks|Headers|Stream|SpareStreams|value_of|entr|timeout_of)|Transport",
    "searches": r"bebr::(Loop|answer|Job|Shelf|Published|Front|Batcher|Lease|CollectionCounts|Histogram)",
    "locks": r"pthread|lll_|__lock|rwlock",
}


@dataclass(frozen=True)
class Row:
    """Instructions of a call, or of a query; ``calls``: of these in one round, or queries in one kernel call."""

    what: str
    calls: int
    total: float
    parts: dict[str, float]


@dataclass(frozen=True)
class Profile:
    """Of functions, as callgrind counts them: what they cost by themselves, and with all that they call."""

    own: Counter[str]
    whole: Counter[str]

    def inside(self, *names: str) -> int:
        """What functions whose names begin so cost, with all that they call; none of them calls another."""
        return sum(cost for function, cost in self.whole.items() if function.startswith(names))


def profiled(command: Sequence[str], use: Callable[[subprocess.Popen[str]], None] = lambda _: None) -> Profile:
    """What a program does while it is used. ``RuntimeError``: it failed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        tool = [
            "valgrind",
            "--tool=callgrind",
            "--compress-strings=no",
            "--compress-pos=no",
            f"--callgrind-out-file={out}",
        ]
        _run([*tool, *command], use)
        return _read(out.read_text())


def _run(command: Sequence[str], use: Callable[[subprocess.Popen[str]], None]) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        use(program)
        _, said = program.communicate()
    if program.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{said}")


def _read(text: str) -> Profile:
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    library = function = called = ""
    of_call = False
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "ob":
            library = value
        elif key == "fn":
            function = f"{value} [{Path(library).name}]"
        elif key == "cfn":
            called = value
        elif key == "calls":
            of_call = True
        elif line[:1].isdigit() and function:
            cost = int(line.split()[-1])
            if not of_call:
                own[function] += cost
            elif not function.startswith(called + " ["):
                whole[called] += cost
            of_call = False
    return Profile(own, whole)


def calling(outstanding: int, rounds: int) -> Callable[[subprocess.Popen[str]], None]:
    """What uses a counted front: so many rounds of calls."""

    def use(server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        about = ["127.0.0.1", server.stdout.readline().strip(), "docs", DIM, outstanding, 1, 1, 0, rounds]
        load = [str(built("bebr_call_load")), *map(str, about)]
        said = subprocess.run(load, stdout=subprocess.PIPE, text=True, check=True).stdout
        if json.loads(said)["wrong"]:
            raise RuntimeError("calls were not answered OK")

    return use


def front(outstanding: int, metrics: bool = False, rows: int = FEW) -> Row:
    command = [str(built("bebr_call_counted")), "front", str(DIM), str(int(metrics)), str(rows)]
    few = max(1, 128 // outstanding)
    more = few + _CALLS // outstanding
    short, long = (profiled(command, calling(outstanding, rounds)).own for rounds in (few, more))
    parts: Counter[str] = Counter()
    for function in long:
        part = next((name for name, words in PARTS.items() if re.search(words, function)), "other")
        parts[part] += long[function] - short[function]
    calls = (more - few) * outstanding
    what = "front, metrics" if metrics else "front" if rows == FEW else "front, handed over"
    return Row(what, outstanding, sum(parts.values()) / calls, {name: n / calls for name, n in parts.items()})


def system_calls(outstanding: int, rows: int = FEW) -> Row:
    """Calls of the system for a call, by name."""
    found = []
    few = max(1, 128 // outstanding)
    more = few + _CALLS // outstanding
    for rounds in (few, more):
        with tempfile.NamedTemporaryFile("r") as out:
            counted = [str(built("bebr_call_counted")), "front", str(DIM), "0", str(rows)]
            command = ["strace", "-f", "-c", "-o", out.name, *counted]
            _run(command, calling(outstanding, rounds))
            lines = [line.split() for line in out.read().splitlines()]
        found.append(Counter({line[-1]: int(line[3]) for line in lines if len(line) >= 5 and line[3].isdigit()}))
    short, long = found
    calls = (more - few) * outstanding
    parts = {name: (long[name] - short[name]) / calls for name in long if name != "total" and long[name] > short[name]}
    what = "system calls" if rows == FEW else "system calls, handed over"
    return Row(what, outstanding, sum(parts.values()), parts)


def search(queries: int) -> Row:
    command = [str(built("bebr_call_counted")), "search", str(DIM), str(ROWS), str(queries)]
    few = max(1, 64 // queries)
    more = few + max(1, _SEARCHES // queries)
    short, long = (profiled([*command, str(times)]) for times in (few, more))

    def of(*names: str) -> float:
        return (long.inside(*names) - short.inside(*names)) / ((more - few) * queries)

    total = of("bebr::CodeSearcher::try_search(")
    parts = {"queries": of("bebr::QueryModel::vectors(", "bebr::QueryModel::project"), "rows": of("bebr::search(")}
    return Row("search", queries, total, {**parts, "set-up": total - sum(parts.values())})


def embedded() -> Row:
    """Of one query."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "db", rows_of(ROWS), None)
        command = [sys.executable, "-m", "benchmarks.call_instructions", "--search", str(Path(folder) / "db")]
        short, long = (profiled([*command, str(times)]) for times in (64, 64 + _SEARCHES))
    engine = "bebr::CollectionSnapshot::search(float const*"
    searched = (long.inside(engine) - short.inside(engine)) / _SEARCHES
    total = (long.own.total() - short.own.total()) / _SEARCHES
    return Row("embedded", 1, total - searched, {"Python": total - searched, "the engine beside it": searched})


def client() -> Row:
    """Of one query."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "db", rows_of(ROWS), None)
        with serving(str(Path(folder) / "db"), "front", cores) as server:
            command = [sys.executable, "-m", "benchmarks.call_instructions", "--search", f"{server.host}:{server.port}"]
            short, long = (profiled([*command, str(times)]) for times in (64, 64 + _ASKED))
    parts: Counter[str] = Counter()
    for function in long.own | short.own:
        library = function.rpartition("[")[2].removesuffix("]")
        parts[library.partition(".")[0]] += long.own[function] - short.own[function]
    shown = {name: n / _ASKED for name, n in parts.items() if n > 100 * _ASKED}
    return Row("client", 1, sum(parts.values()) / _ASKED, shown)


def _search(place: str, times: int) -> None:
    """What is counted of `embedded`, in a folder, and of `client`, at a server's address."""
    bebr.set_num_threads(1)
    queries = rows_of(64)
    with bebr.open(place) if Path(place).is_dir() else bebr.connect(place) as db:
        docs = db.collection(NAME)
        for i in range(times):
            docs.search(queries[i % len(queries)], 10)


def table(rows: Sequence[Row]) -> Table:
    shown = Table("what", "calls", "in all", "by part")
    for row in rows:
        digits = 2 if row.what.startswith("system calls") else 0
        parts = sorted(row.parts.items(), key=lambda part: -part[1])
        words = ", ".join(f"{name} {count:,.{digits}f}" for name, count in parts)
        shown.add_row(row.what, str(row.calls), f"{row.total:,.{digits}f}", words)
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.call_instructions``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.call_instructions", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--python", action="store_true", help="what Python does for a search, too")
    parser.add_argument("--search", nargs=2, metavar=("PLACE", "TIMES"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    if options.search:
        _search(options.search[0], int(options.search[1]))
        return 0
    if missing := [name for name in NEEDS if shutil.which(name) is None]:
        parser.error(f"{' and '.join(missing)} not found: apt-get install {' '.join(missing)}")
    rows = [one(n) for n in OUTSTANDING for one in (front, system_calls)]
    rows += [one(n, rows=MANY) for n in OUTSTANDING for one in (front, system_calls)]
    rows += [front(OUTSTANDING[-1], metrics=True), *(search(n) for n in BATCHES)]
    if options.python:
        os.environ["PYTHONHASHSEED"] = "0"  # so that both runs of a figure start alike
        rows += [embedded(), client()]
    output.console().print(table(rows))
    if options.json:
        output.save(options.json, machine.facts(1), [asdict(row) for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
