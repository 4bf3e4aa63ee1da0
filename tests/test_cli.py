"""The command line, from vectors to hits, and what it says to bad input: exit code 2, one line, no traceback."""

from __future__ import annotations

import html
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import bebr
from bebr.cli import train as train_verb
from bebr.cli.app import VERBS, app_for
from bebr.cli.native_output import gathered_stderr
from bebr.vectors import read_vectors, write_columns, write_vectors
from tests.commands import done, run
from tests.tradeoff.points import ours, theirs

ROOT = Path(bebr.__file__).parents[1]


def process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bebr", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray, queries: np.ndarray) -> Path:
    """A folder with vectors, queries, a 24-byte model and an index with ids from 1000 on."""
    folder = tmp_path_factory.mktemp("cli")
    write_vectors(folder / "x.npy", vectors)
    write_vectors(folder / "q.fvecs", queries)
    np.save(folder / "ids.npy", np.arange(1000, 1000 + len(vectors)))
    done("train", folder / "x.npy", "-o", folder / "m.safetensors", "--bytes", 24)
    done("build", folder / "m.safetensors", folder / "x.npy", "-o", folder / "i.bebr", "--ids", folder / "ids.npy")
    return folder


# Verbs


def test_train_makes_the_model_that_python_makes(work: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    model = bebr.Binarizer.load(work / "m.safetensors")
    assert model.digest == bebr.train(vectors, bytes_per_vector=24).digest
    result = done(
        *("train", work / "x.npy", "-o", tmp_path / "w.safetensors", "--widths", "32,16,8", "--metric", "ip"),
        *("--seed", 5, "--stage-factor"),
    )
    other = bebr.Binarizer.load(tmp_path / "w.safetensors")
    assert other.widths == (32, 16, 8) and other.metric == "ip" and other.settings.stage_factor
    assert other.digest in result.stderr and result.stdout == ""


@pytest.mark.parametrize("suffix", [".npy", ".bvecs", ".parquet"])
def test_encode_writes_the_rows_of_codes(work: Path, vectors: np.ndarray, tmp_path: Path, suffix: str) -> None:
    done("encode", work / "m.safetensors", work / "x.npy", "-o", tmp_path / f"c{suffix}")
    bz = bebr.Binarizer.load(work / "m.safetensors")
    rows = read_vectors(tmp_path / f"c{suffix}").astype(np.uint8)
    assert rows.shape == (len(vectors), bz.bytes_per_vector)
    assert rows.tobytes() == bz.encode(vectors).to_bytes()
    if suffix == ".npy":
        assert np.load(tmp_path / "c.npy").dtype == np.uint8


@pytest.mark.parametrize("query", ["float", "code"])
@pytest.mark.parametrize("effort", [{}, {"oversampling": 5}, {"exact": True}], ids=str)
def test_search_finds_what_python_finds(
    work: Path, queries: np.ndarray, tmp_path: Path, query: str, effort: dict[str, int]
) -> None:
    options = [
        "--query",
        query,
        *{"oversampling": ["--oversampling", "5"], "exact": ["--exact"]}.get("".join(effort), []),
    ]
    done("search", work / "i.bebr", work / "q.fvecs", "-k", 7, *options, "-o", tmp_path / "h.parquet")
    index = bebr.open_index(work / "i.bebr")
    want = index.search(queries, 7, query=query, **effort)
    assert want.ids.min() >= 1000
    np.testing.assert_array_equal(read_vectors(tmp_path / "h.parquet", column="ids"), want.ids)
    np.testing.assert_array_equal(read_vectors(tmp_path / "h.parquet", column="scores"), want.scores)
    for suffix in (".ivecs", ".npy"):
        done("search", work / "i.bebr", work / "q.fvecs", "-k", 7, *options, "-o", tmp_path / f"h{suffix}")
        np.testing.assert_array_equal(read_vectors(tmp_path / f"h{suffix}"), want.ids)
    assert np.load(tmp_path / "h.npy").dtype == np.int64


def test_a_graph_is_built_and_searched(work: Path, queries: np.ndarray, tmp_path: Path) -> None:
    options = ["--index", "graph", "--max-degree", 24]
    done("build", work / "m.safetensors", work / "x.npy", *options, "-o", tmp_path / "g.bebr")
    done("search", tmp_path / "g.bebr", work / "q.fvecs", "-k", 7, "--ef-search", 50, "-o", tmp_path / "h.npy")
    index = bebr.open_index(tmp_path / "g.bebr")
    assert isinstance(index, bebr.GraphIndex) and index.max_degree == 24
    np.testing.assert_array_equal(np.load(tmp_path / "h.npy"), index.search(queries, 7, ef_search=50).ids)


def test_search_without_output_prints_a_table(work: Path, queries: np.ndarray) -> None:
    best = bebr.open_index(work / "i.bebr").search(queries, 1).ids
    result = done("search", work / "i.bebr", work / "q.fvecs", "-k", 2)
    assert f"{best[0, 0]} (" in result.stdout and f"{best[19, 0]} (" in result.stdout
    assert "and 30 more queries" in result.stdout
    assert "more queries" not in done("search", work / "i.bebr", work / "q.fvecs", "--limit", 3).stdout


def test_build_ivf_with_a_model_or_without(work: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    options = ["--index", "ivf", "--nlist", 30, "--memory", "64MiB"]
    result = done(
        "build", work / "m.safetensors", work / "x.npy", "-o", tmp_path / "a.bebr", *options, "--ids", work / "ids.npy"
    )
    found = bebr.open_index(tmp_path / "a.bebr")
    assert isinstance(found, bebr.IVFIndex) and found.nlist == 30 and 1000 in found and 999 not in found
    assert "3,000 vectors in 30 lists, 24 bytes each" in result.stderr and "encoding: 3,000 of 3,000" in result.stderr
    done("build", work / "x.npy", "-o", tmp_path / "b.bebr", *options, "--bytes", 20, "--metric", "ip")
    other = bebr.open_index(tmp_path / "b.bebr")
    assert other.binarizer.bytes_per_vector == 20 and other.binarizer.metric == "ip" and len(other) == 3000


@pytest.mark.parametrize("kind", ["flat", "ivf", "graph"])
def test_build_keeps_vectors_beside_codes(kind: str, work: Path, tmp_path: Path) -> None:
    options = ["--nlist", 30] if kind == "ivf" else []
    path = tmp_path / "a.bebr"
    done("build", work / "m.safetensors", work / "x.npy", "-o", path, "--index", kind, *options, "--rescore", "int8")
    assert bebr.open_index(path).raw_type == "int8"
    done("search", path, work / "q.fvecs", "-k", 3, "--rescore", 50)


def test_build_reads_vectors_and_ids_from_one_parquet_file(work: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    columns = {"id": np.arange(50, 150), "other": np.arange(100), "v": vectors[:100], "w": vectors[100:200]}
    write_columns(tmp_path / "t.parquet", columns)
    arguments = ["build", work / "m.safetensors", tmp_path / "t.parquet", "-o", tmp_path / "i.bebr"]
    done(*arguments, "--column", "v", "--id-column", "id")
    _, ids = bebr.open_index(tmp_path / "i.bebr").codes()
    np.testing.assert_array_equal(ids, np.arange(50, 150))
    done(*arguments, "--column", "w", "--limit", 10)
    _, ids = bebr.open_index(tmp_path / "i.bebr").codes()
    np.testing.assert_array_equal(ids, np.arange(10))


def test_info_tells_the_facts_of_everything(work: Path, tmp_path: Path) -> None:
    build = done("info").stdout
    assert bebr.__version__ in build and bebr.info()["isa"] in build and ".fvecs" in build
    digest = bebr.Binarizer.load(work / "m.safetensors").digest
    assert digest in done("info", work / "m.safetensors").stdout
    index = done("info", work / "i.bebr").stdout
    assert digest in index and "3,000" in index
    assert "3,000" in done("info", work / "x.npy").stdout
    with bebr.open(tmp_path / "data") as db:
        collection = db.create_collection("docs", bebr.Binarizer.load(work / "m.safetensors"))
        collection.upsert(np.arange(5), read_vectors(work / "x.npy")[:5])
    folder = done("info", tmp_path / "data").stdout
    assert "collection docs" in folder and "5 rows" in folder and digest in folder


def test_tradeoff_leaves_table_json_csv_and_picture(work: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    result = done("tradeoff", work / "x.npy", "--bytes", "4", "--limit", 600, "-k", 5, "-o", out)
    assert (
        "recall@5" in result.stdout
        and "bebr ragged, ADC" in result.stdout
        and "bytes a vector: recall@5" in result.stdout
    )
    document = json.loads((out / "tradeoff.json").read_text())
    assert (document["n"], document["queries"], document["d"], document["left_out"]) == (540, 60, 64, [])
    assert sorted(p.name for p in out.iterdir()) == ["tradeoff.csv", "tradeoff.json", "tradeoff.png"]


def test_tradeoff_says_how_to_get_the_picture(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bebr.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["--queries", work / "q.fvecs", "--bytes", "4", "--limit", 600, "-o", tmp_path / "out"]
    result = done("tradeoff", work / "x.npy", *arguments)
    assert "no picture: matplotlib is not installed (pip install" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tradeoff.csv", "tradeoff.json"]


def test_tradeoff_makes_a_page_that_says_how_it_was_made(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bebr.tradeoff.sweep", lambda *_, **__: [ours(24, 0.7), theirs("faiss SQ8", 64, 0.99)])
    monkeypatch.chdir(tmp_path)
    arguments = ["--html", "a page.html", "--peers", "--limit", 600, "--target-recall", 0.6, "--metric", "ip"]
    result = done("tradeoff", work / "x.npy", *arguments)
    assert "a page.html: the page" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a page.html"]  # no folder beside it
    page = Path("a page.html").read_text()
    command = f"bebr tradeoff {work / 'x.npy'} --peers --metric ip --target-recall 0.6 --html 'a page.html' --limit 600"
    assert html.escape(command) in page and "60 queries, held out" in page
    assert "whose recall, less its standard error, is at least 0.6" in page


def test_serve_answers_and_stops(work: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bebr", "serve", str(tmp_path / "data"), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as server:
        try:
            assert server.stdout is not None
            ready = server.stdout.readline()
            assert ready.startswith("listening on "), ready
            with bebr.connect(ready.split()[-1]) as client:
                assert client.collections() == []
            second = process("serve", tmp_path / "data", "--port", "0")
            assert (
                second.returncode == 2 and second.stderr.startswith("error: ") and "is open in process" in second.stderr
            )
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


# Bad input


@pytest.fixture(scope="module")
def bad(work: Path) -> Path:
    """Files that are wrong in ways that only reading shows."""
    x = np.load(work / "x.npy")
    np.save(work / "narrow.npy", x[:20, :32])
    x[5, 3] = np.nan
    np.save(work / "nan.npy", x)
    np.save(work / "few_ids.npy", np.arange(7))
    np.save(work / "twice.npy", np.zeros(3000, int))
    (work / "cut.npy").write_bytes((work / "x.npy").read_bytes()[:-1])
    (work / "cut.bebr").write_bytes((work / "i.bebr").read_bytes()[:-100])
    (work / "cut.safetensors").write_bytes((work / "m.safetensors").read_bytes()[:-100])
    (work / "empty").mkdir()
    write_columns(work / "two.parquet", {"a": x[:9], "b": x[:9]})
    return work


BAD = [
    ("train", "none.npy", "-o", "o.safetensors", "none.npy: no such file"),
    ("train", "cut.npy", "-o", "o.safetensors", "cut.npy: not a readable .npy file"),
    ("train", "nan.npy", "-o", "o.safetensors", "x[5, 3] is nan"),
    ("train", "x.npy", "-o", "o.bin", "'.bin', wanted one of .safetensors"),
    ("train", "x.npy", "-o", "nodir/o.safetensors", "nodir does not exist"),
    ("train", "x.npy", "-o", "o.safetensors", "--bytes", "1", "bytes_per_vector is 1"),
    ("train", "x.npy", "-o", "o.safetensors", "--bytes", "many", "--bytes"),
    ("train", "x.npy", "-o", "o.safetensors", "--bytes", "24", "--widths", "8", "got 2, wanted one"),
    ("train", "x.npy", "-o", "o.safetensors", "--widths", "8,x", "--widths: got '8,x'"),
    ("train", "x.npy", "-o", "o.safetensors", "--widths", "12", "12"),
    ("train", "x.npy", "-o", "o.safetensors", "--metric", "euclid", "euclid"),
    ("train", "x.npy", "-o", "o.safetensors", "--threads", "0", "--threads: got 0"),
    ("train", "two.parquet", "-o", "o.safetensors", "2 columns hold vectors"),
    ("train", "x.npy", "Missing option"),
    ("encode", "cut.safetensors", "x.npy", "-o", "o.npy", "cut.safetensors"),
    ("encode", "x.npy", "x.npy", "-o", "o.npy", "x.npy"),
    ("encode", "m.safetensors", "narrow.npy", "-o", "o.npy", "want (n, 64)"),
    ("encode", "m.safetensors", "nan.npy", "-o", "o.npy", "is nan"),
    (
        "build",
        "m.safetensors",
        "x.npy",
        "-o",
        "o.bebr",
        "--ids",
        "few_ids.npy",
        "got 7 ids, wanted one for each of the 3,000",
    ),
    ("build", "m.safetensors", "x.npy", "-o", "o.bebr", "--ids", "twice.npy", "0"),
    ("build", "m.safetensors", "x.npy", "-o", "o.bebr", "--id-column", "id", "only Parquet files have named columns"),
    ("build", "m.safetensors", "x.npy", "-o", "o.bebr", "--nlist", "9", "--nlist goes with --index ivf"),
    ("build", "m.safetensors", "x.npy", "-o", "o.bebr", "--max-degree", "9", "--max-degree goes with --index graph"),
    ("build", "x.npy", "-o", "o.bebr", "--index", "ivf", "got one file, wanted MODEL VECTORS"),
    ("build", "m.safetensors", "x.npy", "-o", "o.bebr", "--index", "ivf", "--bytes", "20", "got MODEL and --bytes"),
    ("build", "m.safetensors", "x.npy", "-o", "i.bebr", "--index", "ivf", "i.bebr is there already"),
    ("build", "m.safetensors", "x.npy", "-o", "o.bebr", "--index", "ivf", "--memory", "lots", "memory is 'lots'"),
    ("build", "m.safetensors", "nan.npy", "-o", "o.bebr", "--index", "ivf", "--nlist", "1", "got nan at row"),
    ("search", "cut.bebr", "q.fvecs", "cut.bebr"),
    ("search", "m.safetensors", "q.fvecs", "not a bebr file"),
    ("search", "i.bebr", "narrow.npy", "want (n, 64)"),
    ("search", "i.bebr", "q.fvecs", "-k", "0", "-k: got 0"),
    ("search", "i.bebr", "q.fvecs", "--oversampling", "0", "oversampling is 0"),
    ("search", "i.bebr", "q.fvecs", "--oversampling", "3", "--exact", "oversampling is 3 and exact is True"),
    ("search", "i.bebr", "q.fvecs", "--nprobe", "4", "--nprobe is for a ivf index, this one is flat"),
    ("search", "i.bebr", "q.fvecs", "--ef-search", "40", "--ef-search is for a graph index, this one is flat"),
    ("search", "i.bebr", "q.fvecs", "--rescore", "40", "keeps no raw vectors"),
    ("search", "i.bebr", "q.fvecs", "-o", "hits.csv", "wanted one of .ivecs, .npy, .parquet"),
    ("search", "i.bebr", "x.npy", "-o", "x.npy", "x.npy: is read, and would be replaced"),
    ("encode", "m.safetensors", "x.npy", "-o", "./x.npy", "x.npy: is read, and would be replaced"),
    ("tradeoff", "x.npy", "--bytes", "0", "-o", "o", "--bytes: got 0"),
    ("tradeoff", "x.npy", "-o", "x.npy", "got a file, wanted a folder"),
    ("tradeoff", "x.npy", "--html", "o.htm", "'.htm', wanted one of .html"),
    ("tradeoff", "x.npy", "--html", "nodir/o.html", "nodir does not exist"),
    ("tradeoff", "x.npy", "--target-recall", "90", "--target-recall: got 90, wanted a number between 0 and 1"),
    ("tradeoff", "x.npy", "--threads", "0", "-o", "o", "threads: got 0"),
    ("tradeoff", "x.npy", "--queries", "narrow.npy", "-o", "o", "queries has shape"),
    ("serve", "data", "--port", "70000", "--port: got 70000"),
    ("serve", "data", "--threads", "0", "--threads: got 0"),
    ("serve", "data", "--max-message-mb", "4096", "--max-message-mb: got 4096"),
    ("info", "none", "no such file or folder"),
    ("info", "empty", "without catalog.db"),
    ("info", "--bogus", "No such option"),
    ("bogus", "No such command"),
    ("--bogus", "No such option"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: " ".join(case[:-1]))
def test_bad_input_is_one_line_and_leaves_no_file(
    bad: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, ...]
) -> None:
    monkeypatch.chdir(bad)
    before = sorted(bad.rglob("*"))
    threads = bebr.get_num_threads()
    result = run(*case[:-1])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and case[-1] in lines[0]
    assert sorted(bad.rglob("*")) == before
    assert bebr.get_num_threads() == threads


def test_exit_codes_of_a_real_process(work: Path) -> None:
    fine = process("search", work / "i.bebr", work / "q.fvecs", "--limit", 1)
    assert fine.returncode == 0 and fine.stderr == "" and "(0." in fine.stdout
    wrong = process("search", work / "none.bebr", work / "q.fvecs")
    assert wrong.returncode == 2 and wrong.stdout == ""
    assert wrong.stderr.startswith("error: ") and wrong.stderr.count("\n") == 1


def test_unwritable_output(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    result = run("encode", work / "m.safetensors", work / "x.npy", "-o", tmp_path / "c.npy")
    assert result.exit_code == 2 and result.stderr.endswith("c.npy: Permission denied\n")
    assert not list(tmp_path.iterdir())


def test_a_bug_keeps_its_traceback(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(train_verb, "use_threads", bug)
    with pytest.raises(TypeError, match="a bug"):
        run("train", work / "x.npy", "-o", tmp_path / "m.safetensors")


def test_traceback_on_demand(work: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run("--traceback", "info", work / "none")


def test_a_broken_import_is_a_bug_and_a_missing_extra_is_not(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        import nosuchmodule  # noqa: F401

    def missing(*_: object) -> None:
        raise ModuleNotFoundError("needs torch: pip install 'bebr[train]'")

    arguments = ("train", work / "x.npy", "-o", tmp_path / "m.safetensors")
    monkeypatch.setattr(train_verb, "use_threads", broken)
    with pytest.raises(ModuleNotFoundError, match="nosuchmodule"):
        run(*arguments)
    monkeypatch.setattr(train_verb, "use_threads", missing)
    result = run(*arguments)
    assert result.exit_code == 2 and result.stderr == "error: needs torch: pip install 'bebr[train]'\n"


# The shell


def test_help_names_every_verb_and_loads_nothing_heavy() -> None:
    asked = [[], ["--help"], ["train", "--help"], ["--version"]]
    code = (
        "import sys; from bebr.cli import main\n"
        "heavy = {'torch', 'grpc', 'pyarrow', 'sqlalchemy', 'faiss', 'matplotlib', 'safetensors'}\n"
        f"for arguments in {asked}:\n"
        "    sys.argv[1:] = arguments\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "    print('loaded', heavy & set(sys.modules), flush=True)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    *outs, rest = told.split("loaded set()\n")
    assert rest == "", told
    for arguments, out in zip(asked, outs, strict=True):
        if len(arguments) < 2 and arguments != ["--version"]:
            for verb in ("embed", "tag", "train", "encode", "build", "search", "plan", "tradeoff", "serve", "info"):
                assert f" {verb} " in out


def test_a_verb_is_made_without_the_others() -> None:
    def made(*arguments: str) -> list[str]:
        return sorted(typer.main.get_command(app_for(list(arguments))).commands)

    assert made("serve", "data", "--port", "0") == ["serve"] and made("db", "list", "data") == ["db"]
    assert made() == made("--help") == made("--traceback", "info") == made("search-for") == sorted(VERBS)


@pytest.mark.parametrize(
    ("verb", "default"),
    [("build", "row numbers"), ("search", "as calibrated, else 16"), ("train", "52"), ("tradeoff", "held out")],
)
def test_help_says_what_an_option_left_out_means(verb: str, default: str) -> None:
    out = " ".join(done(verb, "--help").stdout.replace("│", " ").split())
    assert f"{default})]" in out


def test_version() -> None:
    assert done("--version").stdout == f"bebr {bebr.__version__}\n"


def test_a_terminal_gets_a_bar_and_a_pipe_does_not(work: Path, tmp_path: Path) -> None:
    arguments = ["encode", work / "m.safetensors", work / "x.npy", "-o", tmp_path / "c.npy"]
    assert process(*arguments).stderr.count("\n") == 1
    main, side = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bebr", *map(str, arguments)],
        stderr=side,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
    ) as child:
        os.close(side)
        seen = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other side is closed: how a pseudo-terminal ends on Linux
                break
            if not piece:
                break
            seen += piece
        assert child.wait() == 0
    os.close(main)
    assert b"encoding" in seen and b"100%" in seen and b"3,000 codes" in seen


def test_native_messages_are_counted(capfd: pytest.CaptureFixture[str]) -> None:
    with gathered_stderr() as told:
        for _ in range(1200):
            os.write(2, b"WARNING the same\n")
        for i in range(12):
            os.write(2, b"line %d\n" % i)
    assert told[0] == "WARNING the same (1,200 times)"
    assert len(told) == 11 and told[-1] == "and 3 more messages"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
