"""What docs/mkdocs makes of pages and docstrings; that every link leads somewhere is asked by `make docs`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("mkdocs", reason="needs MkDocs: pip install 'bebr[docs]'")
FOLDER = Path(__file__).parents[1] / "docs" / "mkdocs"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_to_files_become_links_of_the_site() -> None:
    pages = loaded("pages")
    source = pages.DOCS / "experiments" / "billion.md"
    told = (
        "[a](../../benchmarks/README.md#recall) [b](../method.md) [c](../../LICENSE) [d](https://e.org/f) [g](none.md)"
    )
    made = pages.relinked(told, source, "experiments/billion.md")
    assert made.split() == [
        *("[a](../benchmarks.md#recall)", "[b](../method.md)", "[c](../files/LICENSE)"),
        *("[d](https://e.org/f)", "[g](none.md)"),
    ]
    benchmarks = pages.ROOT / "benchmarks" / "README.md"
    assert pages.relinked("[x](../docs/faq.md)", benchmarks, "benchmarks.md") == "[x](faq.md)"


def test_the_readme_leads_to_every_page_or_to_its_folder() -> None:
    pages = loaded("pages")
    nav = (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    links = set(re.findall(r"\]\(([^)#]+)", (pages.ROOT / "README.md").read_text(encoding="utf-8")))
    elsewhere = {site: name for name, site in pages.ELSEWHERE.items()}
    names = [elsewhere.get(page, f"docs/{page}") for page in re.findall(r"[\w/.-]+\.md", nav)]
    assert len(names) > 40
    # A folder's own page leads on: docs/tutorials/README.md, or docs/producers.md to docs/producers/.
    lost = [name for name in names if name not in links and not any(led(name, link) for link in links)]
    assert not lost


def led(name: str, link: str) -> bool:
    folder = name.rpartition("/")[0]
    return folder != "docs" and link in (f"{folder}/README.md", f"{folder}.md")


def test_what_belongs_to_an_item_is_indented_by_four() -> None:
    relisted = loaded("pages").relisted
    assert relisted(["4. one", "", "   | a |", "5. two"]) == ["4. one", "", "    | a |", "5. two"]
    assert relisted(["* a", "  * b", "", "    c"]) == ["* a", "    * b", "", "        c"]
    fenced = ["text", "```", "* x", "  y", "```"]
    assert relisted(fenced) == fenced


def test_arguments_of_docstrings_become_a_list() -> None:
    as_markdown = loaded("docstrings").as_markdown
    made = as_markdown("""Search.

    q, k: float32[n, d], and
        how many.
    **options: see :func:`bebr.train`.
    Raises ``ValueError``.

    >>> 1 + 1
    2
    """)
    assert "* **q, k**: float32[n, d], and\n    how many." in made
    assert (
        '* **\\*\\*options**: see <autoref identifier="bebr.train" optional><code>bebr.train</code></autoref>.' in made
    )
    assert "\n\nRaises ``ValueError``." in made and "```pycon\n>>> 1 + 1\n2\n```" in made
    assert "* **widths**: bits" in as_markdown("A code.\n\nwidths   bits of each plane\n")


def test_the_page_of_commands_has_all_of_them() -> None:
    pytest.importorskip("typer", reason="the bebr command needs typer: pip install 'bebr[cli]'")
    commands = loaded("commands")
    made = commands.on_page_markdown(f"# C\n\n{commands.MARK}\n")
    assert "## `bebr search`" in made and "### `bebr db create`" in made and "`--nprobe" in made
    assert commands.on_page_markdown("text") == "text"
