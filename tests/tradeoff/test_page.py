"""The page as a file: what its data holds, that names stay text, that it asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import bebr
from bebr.tradeoff import document, to_html, write_html
from tests.tradeoff.points import ours, theirs

HOSTILE = "</script><img src=x onerror='window.hacked=1'>\"&<!--"
ROWS = [
    theirs("faiss PQ48x8", 48, 0.7),
    ours(24, 0.65),
    ours(24, 0.6, query="code"),
    ours(52, 0.82, recipe="2 planes"),
    theirs("faiss PQ96x4fs", 48, 0.6),
]


class Parsed(HTMLParser):
    """Elements by name with their attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("", {}, []))  # takes what comes between elements

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return ["".join(text) for name, has, text in self.found if name == tag and attributes.items() <= has.items()]


def data_of(page: str) -> dict[str, Any]:
    (text,) = Parsed(page).texts("script", id="data")
    return json.loads(text)


def test_the_data_inside_is_the_document_with_its_curves() -> None:
    facts = {"vectors": "x.npy", "n": 1000, "d": 64, "queries": 100, "held_out": True, "target_recall": 0.8}
    data = data_of(to_html(ROWS, **facts))
    curves = data.pop("series")
    assert data.pop("names")[2] == "bebr ragged, SDC"
    assert data == json.loads(json.dumps(document(ROWS, **facts)))
    assert data["rows"] == json.loads(json.dumps([asdict(row) for row in ROWS]))
    recommended = data["recommended"]
    assert (recommended["row"], recommended["smaller"], recommended["larger"]) == (3, 1, None)
    assert recommended["train"] == {"widths": [16, 16]} and recommended["reached"]
    assert [(one["label"], one["points"], one["line"], one["peer"], one["sdc"]) for one in curves] == [
        ("bebr ragged, ADC", [1], [1], False, False),
        ("bebr ragged, SDC", [2], [2], False, True),
        ("bebr 2 planes, ADC", [3], [3], False, False),
        ("faiss PQ", [0, 4], [0], True, False),
    ]
    assert sorted(row for one in curves for row in one["points"]) == list(range(len(ROWS)))


def test_every_figure_is_in_the_table_and_the_reason_on_top() -> None:
    page = to_html(ROWS, n=1000, d=64, metric="ip", command="bebr tradeoff 'my x.npy'", left_out=["scann: left out"])
    parsed = Parsed(page)
    assert len(parsed.texts("tr")) == len(ROWS) + 1
    assert parsed.texts("th", scope="row")[2] == "bebr 2 planes, ADC (recommended)"
    assert "0.820 ± 0.004" in parsed.texts("td") and "16x2" in parsed.texts("td")
    assert parsed.texts("strong")[0].startswith("52 bytes a vector: recall@10 0.820 ± 0.004 at 1,000 queries a second")
    assert "bebr train VECTORS -o model.safetensors --widths 16,16 --metric ip" in parsed.texts("pre")[0]
    assert parsed.texts("code") == ["bebr tradeoff 'my x.npy'"] and parsed.texts("li") == ["scann: left out"]
    facts = " ".join(parsed.texts("dd"))
    assert f"bebr {bebr.__version__}" in facts and bebr.info()["isa"] in facts and "exact float32 search" in facts


def test_names_stay_text() -> None:
    rows = [ours(24, 0.65), theirs(f"evil {HOSTILE}", 48, 0.7)]
    page = to_html(rows, vectors=HOSTILE, command=HOSTILE, left_out=[HOSTILE], libraries={HOSTILE: HOSTILE})
    parsed = Parsed(page)
    assert "img" not in [tag for tag, _, _ in parsed.found]
    assert page.count("</script>") == 2 and page.count("<!--") == 0
    data = data_of(page)
    assert data["rows"][1]["recipe"] == f"evil {HOSTILE}" and data["left_out"] == [HOSTILE]
    assert f"evil {HOSTILE}" in parsed.texts("th", scope="row")


def test_the_page_asks_for_nothing_and_runs_its_own_script_alone() -> None:
    page = to_html(ROWS)
    parsed = Parsed(page)
    for tag, attributes, _ in parsed.found:
        assert attributes.get("src") is None, tag
        assert attributes.get("href") in (None, "data:,"), tag
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    (policy,) = [has["content"] or "" for _, has, _ in parsed.found if has.get("http-equiv")]
    (script,) = [text for tag, has, text in parsed.found if tag == "script" and not has]
    digest = base64.b64encode(hashlib.sha256("".join(script).encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_html(path, ROWS, n=1000)
    before = path.read_bytes()
    assert before.decode() == to_html(ROWS, n=1000)

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_html(path, ROWS)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
