"""The arithmetic of the SimCSE benchmark, its rule, and one small pass through all of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bebr.models.data.debian import Described
from benchmarks.models import simcse

_VOCABULARY = "[PAD] [UNK] [CLS] [SEP] text image sound network editor client player viewer files opens reads and"
WORDS = _VOCABULARY.split()


def described(count: int) -> list[Described]:
    """Made-up packages; synopses and descriptions share words."""
    random = np.random.default_rng(0)
    out = []
    for i in range(count):
        words = " ".join(random.choice(WORDS[4:], 4))
        out.append(Described(f"p{i}", f"{words} {i}", f"{words} opens files {i} " + "and reads files " * 6, ()))
    return out


def test_pairs_share_no_text_and_follow_the_seed() -> None:
    packages = described(300)
    twins = [Described(f"{one.package}-dbg", one.synopsis, one.description, ()) for one in packages[:50]]
    known, held = simcse.pairs([*packages, *twins], 0, 20)
    texts = [text for pair in [*known, *held] for text in pair]
    assert len(set(texts)) == len(texts) and len(held) == 20 and len(known) > 150
    assert simcse.pairs([*packages, *twins], 0, 20) == (known, held) != simcse.pairs(packages, 1, 20)
    with pytest.raises(ValueError, match="to hold out, wanted 200"):
        simcse.pairs(packages, 0, 200)


def test_recall_is_of_ones_own_row() -> None:
    ids = np.array([[0, 1], [0, 1], [0, 1]])
    assert simcse.recall(ids, 1) == pytest.approx(1 / 3) and simcse.recall(ids, 2) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("r1", "kept", "failed"),
    [
        ({"minilm": 0.4, "unsupervised": 0.3, "supervised": 0.5}, 0.95, []),
        ({"minilm": 0.6, "unsupervised": 0.3, "supervised": 0.5}, 0.95, ["2, R@1 of supervised less that of minilm"]),
        ({"minilm": 0.4, "unsupervised": 0.6, "supervised": 0.5}, 0.8, ["1, R@1", "3, R@10 of 48 bytes"]),
    ],
)
def test_the_rule_is_that_of_the_docstring(r1: dict[str, float], kept: float, failed: list[str]) -> None:
    rows = [
        {"arm": arm, "seed": seed, "r1": value + 0.001 * seed * len(arm), "r10": 0.8}
        | {"codes": {"ADC, 48": {"r10": 0.8 * kept}}}
        for seed in range(3)
        for arm, value in {"start": 0.1, **r1}.items()
    ]
    told = simcse.failures(rows)
    assert len(told) == len(failed) and all(text.startswith(one) for text, one in zip(told, failed, strict=True))
    assert simcse.failures(rows[:8]) == ["not measured under three seeds"]


def test_one_small_run(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
    from bebr.models import weights
    from bebr.models.simcse.config import Config, manifest

    random = torch.Generator().manual_seed(0)
    config = Config("bert", len(WORDS), 32, 1, 2, 32, 32, 2, 1e-12, 0)
    state = {
        key: torch.ones(shape) if "Norm.weight" in key else 0.2 * torch.randn(shape, generator=random)
        for key, shape in manifest(config).items()
    }
    weights.save(tmp_path, state, config.to_json())
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    load = simcse.models.load

    def fake(name: str, **options: object):
        if name == "minilm":
            return load("simcse", weights=tmp_path, variant="unsupervised", max_tokens=options["max_tokens"])
        return load(name, **options)

    monkeypatch.setattr(simcse.models, "load", fake)
    monkeypatch.setattr(simcse, "minilm_folder", lambda: tmp_path)
    monkeypatch.setattr(simcse.debian, "load", lambda: described(640))
    monkeypatch.setattr(simcse, "BYTES", (8,))
    found = []
    for name, more in (("a.json", []), ("b.json", ["--arms", "supervised"])):
        arguments = ["--seeds", "0", "--steps", "2", "--batch", "8", "--tokens", "16", "--held", "66", *more]
        assert simcse.main([*arguments, "--json", str(tmp_path / name)]) == 1  # one seed decides nothing
        assert "not a reproduction" in capsys.readouterr().out
        found.append([{**row, "seconds": 0} for row in json.loads((tmp_path / name).read_text())["rows"]])
    assert found[0][3:] == found[1] and [row["arm"] for row in found[0]] == list(simcse.ARMS)
    assert {**found[0][0], "arm": ""} == {**found[0][1], "arm": ""}  # here both are the same encoder
    for row in found[0]:
        assert 0 <= row["r1"] <= row["r10"] <= 1 and list(row["codes"]) == ["ADC, 8", "SDC, 8"]
    assert simcse.main(["--held", "100"]) == 1 and "wanted 100" in capsys.readouterr().out
