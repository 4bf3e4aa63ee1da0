"""The arithmetic of the TagGPT benchmark, its rule, and one small pass through all of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bebr.models.data.debian import Described
from benchmarks.models import debian_tags, taggpt

DEBTAGS = ("works-with::image:raster", "use::editing", "devel::library", "role::TODO", "implemented-in::c++")


def test_debtags_become_words() -> None:
    assert debian_tags.labels([*DEBTAGS, "use::editing"]) == ["image raster", "editing", "library", "c++"]
    assert debian_tags.gold_words(DEBTAGS) == {"image", "rast", "edit", "librar", "c++"}


@pytest.mark.parametrize(
    ("tag", "right"),
    [
        ("image editor", True),
        ("powerful image", True),  # half of its words
        ("very powerful image", False),
        ("images", True),
        ("c++", True),
        ("c", False),  # a stem of one letter begins everything
        ("lib", True),
        ("red wine", False),
        ("...", False),
    ],
)
def test_half_of_the_words_make_a_tag_right(tag: str, right: bool) -> None:
    assert debian_tags.is_right(tag, debian_tags.gold_words(DEBTAGS)) == right


def test_empty_places_are_wrong_unless_asked_otherwise() -> None:
    gold = [{"a", "b"}] * 3
    chosen = [["a", "b", "c", "x", "y", "a"], ["a"], []]
    assert debian_tags.precision(chosen, gold) == pytest.approx((2 / 5 + 1 / 5 + 0) / 3)
    assert debian_tags.precision(chosen, gold, emitted=True) == pytest.approx((2 / 5 + 1) / 2)
    assert debian_tags.precision([[]], gold[:1], emitted=True) == 0


def test_redundancy_is_the_mean_greatest_cosine() -> None:
    x = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    assert debian_tags.redundancy(x, block=2) == pytest.approx((0.6 + 0.8 + 0.8) / 3)
    assert debian_tags.redundancy(x[:1]) == 0


def described(count: int) -> list[Described]:
    """Made-up packages of four subjects; each description is another."""
    subjects = ["image editor", "text editor", "network client", "sound player"]
    return [
        Described(
            f"package-{i}",
            f"powerful {subjects[i % 4]}",
            f"This {subjects[i % 4]} is number {i}. It opens {subjects[i % 4].split()[0]} files",
            (f"use::{subjects[i % 4].split()[1]}", f"works-with::{subjects[i % 4].split()[0]}"),
        )
        for i in range(count)
    ]


def test_samples_do_not_overlap_and_follow_the_seed() -> None:
    known, new = debian_tags.sample(described(60), 0, 40, 20)
    texts = [text_fields["description"] for text_fields in [*known.text_fields, *new.text_fields]]
    assert len(set(texts)) == 60 and len(new.debtags) == 20
    assert debian_tags.sample(described(60), 1, 40, 20)[0].text_fields != known.text_fields
    with pytest.raises(ValueError, match="packages: got 60 with debtags, wanted 61"):
        debian_tags.sample(described(60), 0, 41, 20)


def rows(redundancy: float, coverage: float, late: float, plain: float, rescored: float) -> list[dict[str, object]]:
    """Three seeds with these gains; each a little off."""
    out = []
    for seed in range(3):
        off = 0.001 * seed
        both = {"generative_equal": rescored, "selective_equal": rescored}
        out.append(
            {
                "vocabularies": {
                    "full": {"redundancy": 0.7 - redundancy + off, "coverage": 0.9 - coverage},
                    "no deduplication": {"redundancy": 0.7, "coverage": 0.9},
                },
                "taggers": {"generative": {"p5": 0.3 + late + off}, "free tags": {"p5": 0.3}},
                "codes": {"48": {**both, "generative_equal": plain}, "48 + float16": both},
            }
        )
    return out


@pytest.mark.parametrize(
    ("gains", "failed"),
    [
        ((0.05, 0.005, 0.05, 0.99, 0.99), []),
        ((-0.05, 0.005, 0.05, 0.99, 0.99), ["1, redundancy"]),
        ((0.05, 0.02, 0.05, 0.99, 0.99), ["1, coverage"]),
        ((0.05, 0.005, -0.05, 0.99, 0.99), ["2, precision@5"]),
        ((0.05, 0.005, 0.05, 0.5, 0.99), ["3a, generative_equal"]),
        ((0.05, 0.005, 0.05, 0.99, 0.97), ["3a, selective_equal", "3b, generative_equal", "3b, selective_equal"]),
    ],
)
def test_the_rule_is_that_of_the_docstring(gains: tuple[float, ...], failed: list[str]) -> None:
    told = taggpt.failures(rows(*gains))
    assert len(told) == len(failed)
    assert all(text.startswith(start) for text, start in zip(told, failed, strict=True))
    assert taggpt.failures(rows(*gains)[:2]) == ["not measured: 2 seeds, wanted at least three"]


def test_one_small_run(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(taggpt.debian, "load", lambda: described(60))
    monkeypatch.setattr(taggpt.models, "load", lambda name: taggpt.HashedWords())
    monkeypatch.setattr(taggpt, "BYTES", (24,))
    path = tmp_path / "taggpt.json"
    arguments = ["--seeds", "0", "--build", "40", "--held", "20", "--json", str(path)]
    assert taggpt.main(arguments) == 1  # one seed decides nothing
    assert "not a reproduction" in capsys.readouterr().out
    held = json.loads(path.read_text())["rows"]
    assert [row["seed"] for row in held] == [0]
    for row in held:
        assert list(row["codes"]) == ["exact", "24", "24 + float16"]
        assert set(row["codes"]["exact"].values()) >= {1.0}
        for arm in row["taggers"].values():
            assert all(0 <= value <= 1 for name, value in arm.items() if name != "tags")
    again = json.loads(path.read_text())["rows"]
    taggpt.main(arguments)
    for first, second in zip(again, json.loads(path.read_text())["rows"], strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert taggpt.main(["--build", "60"]) == 1
    assert "wanted 1,060" in capsys.readouterr().out
