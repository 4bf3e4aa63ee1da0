"""A hook of MkDocs: pages that stand elsewhere in the repository, and what is right in both places.

Pages link to files of the repository, as a reader of the repository wants it. Here such a link becomes one of the site:
to the page that a file is, or to the file itself, which the site then holds beside its pages. And what belongs to an
item of a list stands below its first word; MkDocs wants four spaces before it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Pages that stand outside docs/, and where the site has them.
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/ann_benchmarks/README.md": "ann-benchmarks.md",
    "benchmarks/vectordb_bench/README.md": "vectordb-bench.md",
    "csrc/README.md": "engine.md",
}
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


_ITEM = re.compile(r"(?:[*-]|\d+\.) +")


def place(path: Path) -> str:
    """Where the site has a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    return path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else f"files/{name}"


def linked(page: Path, target: str) -> Path | None:
    """The file of the repository that a link of ``page`` leads to; None for the links of the web and for none."""
    path = (page.parent / target).resolve()
    if path.is_dir():
        path /= "README.md"
    return path if "://" not in target and path.is_file() and path.is_relative_to(ROOT) else None


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages that stand elsewhere, then each file that a page links to and that is no page."""
    for name, uri in ELSEWHERE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    for page in [Path(str(file.abs_src_path)) for file in files.documentation_pages()]:
        for _, target, _ in _LINK.findall(page.read_text(encoding="utf-8")):
            path = linked(page, target)
            if path is not None and files.get_file_from_path(place(path)) is None:
                files.append(File.generated(config, place(path), abs_src_path=str(path)))
    return files


def relinked(markdown: str, source: Path, uri: str) -> str:
    """Links to files become links of the page at ``uri`` to where the site has these."""
    start = PurePosixPath(uri).parent

    def moved(link: re.Match[str]) -> str:
        path = linked(source, link[2])
        return link[0] if path is None else f"{link[1]}{os.path.relpath(place(path), start)}{link[3]}"

    return _LINK.sub(moved, markdown)


def relisted(lines: list[str]) -> list[str]:
    """What belongs to an item of a list is indented by four spaces, items within items by eight, and so on."""
    made: list[str] = []
    fenced = False
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        fenced ^= line.startswith("```")
        item = None if fenced else _ITEM.match(line)
        if item is None:
            made.append(line)
            continue
        width = item.end()
        inside = [line[width:]]
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" " * width)):
            inside.append(lines[at][width:])
            at += 1
        first, *rest = relisted(inside)
        made.append(item[0] + first)
        made += [f"    {one}" if one.strip() else "" for one in rest]
    return made


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The page as MkDocs wants it."""
    lines = "\n".join(relisted(markdown.splitlines()))
    return relinked(lines, Path(page.file.abs_src_path), page.file.src_uri)
