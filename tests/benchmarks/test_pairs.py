"""The pairs benchmark's own arithmetic; the experiment itself takes minutes."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from benchmarks import pairs
from benchmarks.pairs import Figure, Pairs

RNG = np.random.default_rng(0)


def test_the_gallery_is_shuffled_and_its_answers_are_known() -> None:
    documents = RNG.standard_normal((50, 16)).astype(np.float32)
    data = Pairs.of(documents + 0.01, documents, held_out=20, more=documents[:5])
    np.testing.assert_array_equal(data.gallery[data.answers], documents[:20])
    assert not np.array_equal(data.answers, np.arange(20))
    np.testing.assert_array_equal(data.pairs[1], documents[20:])
    assert len(data.x) == 35
    assert pairs.floats(data, None) == (1.0, 1.0)


def test_rates_count_the_first_and_the_first_ten() -> None:
    data = Pairs.of(
        np.eye(16, dtype=np.float32), np.eye(16, dtype=np.float32), held_out=4, more=np.eye(16, dtype=np.float32)[:0]
    )
    ids = np.full((4, 10), -1)
    ids[0, 0], ids[1, 9] = data.answers[:2]
    assert data.rates(ids) == (0.25, 0.5)


def test_without_an_adapter_floats_stay_as_they_are() -> None:
    x = RNG.standard_normal((300, 16)).astype(np.float32)
    assert pairs.moved(bebr.train(x, widths=(16,)), x) is x


@pytest.mark.parametrize(("r1", "kept"), [(0.64, True), (0.62, False)])
def test_promises_say_by_how_much_they_are_kept(r1: float, kept: bool) -> None:
    def figure(method: str, size: int, mode: str, r1: float, r10: float) -> Figure:
        return Figure(method, mode, size, (), 0, r1, r10, 0.0)

    rows = [
        figure("raw float", 1536, "", 0.6, 0.85),
        figure("fine-tuned float", 1536, "", 0.67, 0.91),
        figure("ours, tuned", 50, "ADC", r1, 0.86),
        figure("ours, tuned", 50, "SDC", 0.1, 0.1),
        figure("ours, tuned", 98, "ADC", 0.667, 0.9),
    ]
    margins = [margin for _, margin in pairs.promises(rows)]
    assert margins == pytest.approx([r1 - 0.63, 0.01, 0.003, -0.004])
    assert (margins[0] >= 0) == kept
