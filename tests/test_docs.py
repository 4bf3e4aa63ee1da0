"""The pages stand alone: every link, and every file that a page or a comment names, is in the repository. Their
examples run."""

import doctest
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_TEXT = (".md", ".py", ".pyi", ".h", ".cpp", ".toml", ".txt", ".proto")
_NAMED = re.compile(r"(?<![\w/.])(?:docs|csrc|bebr|benchmarks|models|tests|proto)/[\w/-]+\.(?:md|py|h|cpp|proto)\b")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_WIDEST = 220  # characters of a line of a page, outside tables


def _tracked() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return [ROOT / name for name in listed.splitlines() if name.endswith(_TEXT) and (ROOT / name).is_file()]


def _pages() -> list[Path]:
    return [path for path in _tracked() if path.suffix == ".md"]


def test_links_of_pages_lead_somewhere() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in _pages()
        for target in _LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing


def _slugs(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_links_into_pages_lead_to_a_heading() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page in _pages()
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text())
        if anchor not in _slugs((page.parent / target) if target else page)
    ]
    assert not missing


def test_files_named_in_pages_and_comments_exist() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _tracked()
        if path != Path(__file__)
        for name in sorted(set(_NAMED.findall(path.read_text())))
        if not (ROOT / name).exists()
    ]
    assert not missing


def test_every_experiment_is_in_the_index() -> None:
    folder = ROOT / "docs" / "experiments"
    index = (folder / "README.md").read_text()
    assert not [page.name for page in folder.glob("*.md") if page.name != "README.md" and page.name not in index]


def test_lines_of_pages_are_short_enough_to_read() -> None:
    long = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in _pages()
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > _WIDEST and not line.lstrip().startswith("|")
    ]
    assert not long


def test_three_documents_need_no_model(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="bebr.open needs SQLAlchemy: pip install 'bebr[store]'")
    page = ROOT / "docs" / "collections.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, globs={"folder": tmp_path})
    assert tried > 5 and not failed
