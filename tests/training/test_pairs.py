"""The pairs recipe: an input adapter tuned on pairs, then the unsupervised code behind it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bebr

torch = pytest.importorskip("torch", reason="training on pairs needs torch")

from bebr.training.gradient.input_adapter import InputAdapter, InputAdapters  # noqa: E402
from bebr.training.gradient.losses import Keys, hard_negatives, score_distillation  # noqa: E402
from bebr.training.gradient.queue import MomentumQueue  # noqa: E402

Pair = tuple[np.ndarray, np.ndarray]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def views(n: int, seed: int = 0, query_dim: int = 32) -> Pair:
    """Queries and documents that share 16 of 32 directions; in the others noise drowns the raw cosine."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    turns = [np.linalg.qr(fixed.standard_normal((64, 64)))[0][:32, :dim] for dim in (query_dim, 32)]
    if query_dim == 32:
        turns[0] = turns[1]
    shared = np.hstack([rng.standard_normal((n, 16)), np.zeros((n, 16))])
    spread = np.repeat([0.4, 1.5], 16)
    queries, documents = ((shared + rng.standard_normal((n, 32)) * spread) @ turn for turn in turns)
    return queries.astype(np.float32), documents.astype(np.float32)


def train(pairs: Pair, **options: Any) -> bebr.Binarizer:
    settings: dict[str, Any] = {
        "widths": (32, 32),
        "rounds": 0,
        "hidden": 128,
        "epochs": 15,
        "batch": 200,
        "learning_rate": 5e-3,
    }
    return bebr.train(pairs[1], pairs=pairs, **(settings | options))


def first(bz: bebr.Binarizer, pairs: Pair, query: str = "float") -> float:
    """R@1 among the pairs' own documents."""
    index = bebr.FlatIndex(bz)
    index.add(pairs[1])
    ids = index.search(pairs[0], 1, query=query, exact=True).ids
    return float(np.mean(ids[:, 0] == np.arange(len(ids))))


TRAINING, NEW = views(1500), views(300, seed=1)
# rounds=0, the closed form behind the adapter: the adapter is what these tests are about.
FEW: dict[str, Any] = {"widths": (32, 32), "rounds": 0, "hidden": 128, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def tuned() -> bebr.Binarizer:
    return train(TRAINING)


def test_a_tuned_code_passes_the_untuned_one_and_the_raw_floats(tuned: bebr.Binarizer) -> None:
    untuned = bebr.train(TRAINING[1], widths=(32, 32), rounds=0)
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in NEW]
    floats = np.mean(np.argmax(unit[0] @ unit[1].T, axis=1) == np.arange(300))
    for query in ("float", "code"):
        assert first(tuned, NEW, query) > max(floats, first(untuned, NEW, query)) + 0.1
    heldout = tuned.config["heldout"]
    assert heldout["tuned"] > heldout["untuned"]
    assert heldout["floats"]["end"] > heldout["floats"]["start"]


def test_it_survives_its_file(tuned: bebr.Binarizer, tmp_path: Path) -> None:
    tuned.save(tmp_path / "m.safetensors")
    again = bebr.Binarizer.load(tmp_path / "m.safetensors")
    assert again.digest == tuned.digest and again.config == tuned.config
    assert first(again, NEW) == first(tuned, NEW)
    assert (again.input_dim, again.query_dim, again.widths) == (32, 32, (32, 32))


def test_the_engine_moves_vectors_as_torch_does() -> None:
    """BatchNorm is folded at export: the engine's decoded codes are near the torch adapter's output, to code error."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapter = InputAdapter(32, 32, 64)
        torch.nn.init.normal_(adapter.network[3].weight)
        adapter(torch.randn(500, 32))  # some statistics
    x = NEW[1] / np.linalg.norm(NEW[1], axis=1, keepdims=True)
    moved = adapter.evaluated(torch.from_numpy(x)).numpy()
    tensors = adapter.tensors("front")
    hidden = np.maximum(x @ tensors["front.0.weight"].T + tensors["front.0.bias"], 0)
    by_hand = 16 * x + hidden @ tensors["front.1.weight"].T + tensors["front.1.bias"]
    np.testing.assert_allclose(moved, by_hand / np.linalg.norm(by_hand, axis=1, keepdims=True), atol=1e-5)
    inner = bebr.train(moved, widths=(32,) * 4, rounds=0)
    config = inner.config | {"front": {"skip": 16.0}}
    whole = bebr.Binarizer.from_tensors(inner.tensors | tensors, config)
    assert np.mean(whole.encode(x).planes != inner.encode(moved).planes) < 1e-3


def test_an_untrained_adapter_is_the_identity() -> None:
    x = torch.nn.functional.normalize(torch.randn(20, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    torch.testing.assert_close(InputAdapter(16, 16, 8).evaluated(x), x)


def test_the_same_seed_gives_the_same_model_and_leaves_torch_alone() -> None:
    options: dict[str, Any] = {"epochs": 2, "queue": 2, "distill": 0.5}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = train(TRAINING, seed=1, **options)
    assert torch.equal(torch.rand(3), expected)
    assert train(TRAINING, seed=1, **options).digest == one.digest
    assert train(TRAINING, seed=2, **options).digest != one.digest


def test_two_encoders_take_queries_of_another_dimension() -> None:
    pairs, new = views(1500, query_dim=40), views(300, seed=1, query_dim=40)
    bz = train(pairs, two_encoders=True)
    assert (bz.input_dim, bz.query_dim) == (32, 40)
    assert first(bz, new) > 0.5 and first(bz, new, "code") > 0.4  # chance is 1/300
    assert bz.config["heldout"]["untuned"] is None  # nothing untuned can compare 40 dimensions with 32
    assert bebr.Binarizer.from_bytes(bz.to_bytes()).digest == bz.digest


def test_two_encoders_of_one_dimension_start_from_the_floats() -> None:
    """Here documents are queries turned: one map for both cannot undo that, two can."""
    queries, documents = (side @ turn for side, turn in zip(views(1500), turns(), strict=True))
    new = tuple(side @ turn for side, turn in zip(NEW, turns(), strict=True))
    two = train((queries, documents), two_encoders=True)
    assert two.config["heldout"]["untuned"] is not None
    assert first(two, new) > first(train((queries, documents)), new) + 0.1


def turns() -> list[np.ndarray]:
    """The identity and a turn by a random rotation, float32[32, 32]."""
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((32, 32)))[0]
    return [np.eye(32, dtype=np.float32), turn.astype(np.float32)]


def test_few_pairs_keep_the_floats_neighbourhoods() -> None:
    """150 pairs say little of other documents: with self-distillation their neighbours stay, and pairs still count."""
    pairs = (TRAINING[0][:150], TRAINING[1][:150])
    loose, close, default = (
        bebr.train(TRAINING[1], **FEW, pairs=pairs, epochs=60, batch=60, distill=weight) for weight in (0.0, 1.0, None)
    )
    assert neighbours_kept(close) > neighbours_kept(loose) + 0.1
    assert first(close, NEW) > first(bebr.train(TRAINING[1], widths=(32, 32), rounds=0), NEW) + 0.1
    assert default.digest == close.digest  # what few pairs get unasked


def neighbours_kept(bz: bebr.Binarizer) -> float:
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (NEW[1][:100], TRAINING[1])]
    truth = np.argsort(-(unit[0] @ unit[1].T), axis=1)[:, :10]
    index = bebr.FlatIndex(bz)
    index.add(TRAINING[1])
    ids = index.search(NEW[1][:100], 10, exact=True).ids
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(ids, truth, strict=True)]))


def test_tuning_that_does_not_help_is_undone() -> None:
    """Pairs drawn at random teach nothing; the binarizer stays as it is without them."""
    shuffled = (TRAINING[0], TRAINING[1][np.random.default_rng(0).permutation(1500)])
    with pytest.warns(UserWarning, match="the binarizer is left untuned"):
        bz = train(shuffled, epochs=0)
    assert "front" not in bz.config
    assert bz.config["heldout"]["tuned"] <= bz.config["heldout"]["untuned"]
    untuned = bebr.train(shuffled[1], widths=(32, 32), rounds=0)
    np.testing.assert_array_equal(bz.encode(NEW[1]).planes, untuned.encode(NEW[1]).planes)


def test_a_teachers_scores_add_to_few_pairs() -> None:
    """300 pairs name 300 right documents; a teacher that sees the shared half judges 64 documents for each query."""
    few = (TRAINING[0][:300], TRAINING[1][:300])
    candidates = np.random.default_rng(0).integers(0, 1500, (300, 64))
    scores = 10 * np.einsum("nd,ncd->nc", judged(few[0]), judged(TRAINING[1])[candidates])
    teacher = {"scores": scores, "candidates": candidates, "pool": TRAINING[1], "score_weight": 10.0}
    with_scores, without = (
        bebr.train(TRAINING[1], **FEW, pairs=few, epochs=30, batch=80, distill=0, **more) for more in (teacher, {})
    )
    assert first(with_scores, NEW) > first(without, NEW) + 0.05


def judged(x: np.ndarray) -> np.ndarray:
    """What the teacher sees of rows [n, 32], at unit length."""
    part = (x @ np.linalg.pinv(shared_turn()))[:, :16]
    return part / np.linalg.norm(part, axis=1, keepdims=True)


def shared_turn() -> np.ndarray:
    """The turn of :func:`views`."""
    fixed = np.random.default_rng(99)
    fixed.standard_normal((64, 64))
    return np.linalg.qr(fixed.standard_normal((64, 64)))[0][:32, :32]


def test_pairs_of_one_label_are_no_negatives() -> None:
    """The loss of a batch whose rows all have one label is nil, in the batch and in the queue."""
    a, b = (torch.nn.functional.normalize(torch.randn(20, 8), dim=1) for _ in range(2))
    alone, together = torch.arange(20), torch.zeros(20, dtype=torch.long)
    assert hard_negatives(a, b, alone, 0.05) > 0.1
    assert hard_negatives(a, b, together, 0.05) == pytest.approx(0, abs=1e-6)
    assert hard_negatives(a, b, together, 0.05, queue=Keys(a, b, together)) == pytest.approx(0, abs=1e-6)
    assert hard_negatives(a, b, together, 0.05, queue=Keys(a, b, together + 1)) > 0.1


def test_a_queue_adds_negatives_and_forgets_the_oldest() -> None:
    adapters = InputAdapters(InputAdapter(8, 8, 16))
    queue = MomentumQueue(adapters, 2)
    assert queue.keys() is None
    x = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
    for batch in range(3):
        queue.push(adapters, x, -x, torch.full((5,), batch))
    keys = queue.keys()
    assert keys is not None and keys.groups.tolist() == [1] * 5 + [2] * 5
    torch.testing.assert_close(keys.queries[:5], x)
    torch.testing.assert_close(keys.documents[:5], -x)


def test_labels_let_classes_meet() -> None:
    """Eight classes in the shared half, and no more: told them, a query finds documents of its class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 800)
    centres = np.hstack([rng.standard_normal((8, 16)), np.zeros((8, 16))])
    spread = np.repeat([0.8, 2.0], 16)
    queries, documents = (
        (centres[labels] + rng.standard_normal((800, 32)) * spread).astype(np.float32) for _ in range(2)
    )
    heldout = train((queries, documents), labels=labels).config["heldout"]
    assert heldout["tuned"] > heldout["untuned"] + 0.05


def test_score_distillation_is_least_at_the_teachers_order() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(10, 8, generator=generator), dim=1)
    candidates = torch.nn.functional.normalize(torch.randn(10, 6, 8, generator=generator), dim=2)
    own = torch.einsum("nd,ncd->nc", queries, candidates)
    assert score_distillation(queries, candidates, own * 20, 0.1, 2.0) == pytest.approx(0, abs=1e-5)
    assert score_distillation(queries, candidates, -own * 20, 0.1, 2.0) > 0.1


def test_progress_ends_where_it_said() -> None:
    seen: list[tuple[str, int, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        train(TRAINING, epochs=2, progress=lambda *step: seen.append(step))
    assert [step for step in seen if step[0] == "pairs"] == [("pairs", i, 2) for i in range(3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "l2"}, "metric is 'l2': pairs want 'cosine'"),
        ({"epochs": -1}, "epochs is -1: want an integer >= 0"),
        ({"batch": 2.5}, "batch is 2.5: want an integer >= 8"),
        ({"hidden": 0}, "hidden is 0"),
        ({"negatives": 0}, "negatives is 0"),
        ({"queue": -1}, "queue is -1"),
        ({"temperature": 0}, "temperature is 0: want a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"distill": -1.0}, "distill is -1.0: want a number of at least 0"),
        ({"device": "abacus"}, "device is 'abacus': want 'cpu' or 'cuda'"),
        ({"labels": np.zeros(3, np.int64)}, "labels has 3 entries"),
        ({"scores": np.zeros((1500, 4))}, "scores and candidates come together"),
        ({"pool": NEW[1]}, "pool is given without scores and candidates"),
        (
            {"scores": np.zeros((1500, 4)), "candidates": np.full((1500, 4), 1500)},
            "candidates holds 1500 to 1500: want rows 0 to 1499",
        ),
        ({"scores": np.zeros((1500, 4)), "candidates": np.zeros((1500, 4))}, "candidates has dtype float64"),
        ({"scores": np.zeros((1500, 3)), "candidates": np.zeros((1500, 4), int)}, r"scores has dtype .*\(1500, 3\)"),
        ({"pairs": (TRAINING[0][:9], TRAINING[1])}, "pairs has 9 queries and 1500 documents"),
        ({"pairs": (TRAINING[0][:, :20], TRAINING[1])}, r"pairs\[0\] has shape \(1500, 20\)"),
        ({"pairs": (TRAINING[0][:20], TRAINING[1][:20])}, "pairs has 20 rows in 20 groups"),
        ({"pairs": (np.ones((99, 32)), np.ones((99, 32)))}, "pairs has 99 rows in 1 groups"),
        ({"pairs": (TRAINING[0],)}, "pairs has 1 entries"),
        ({"hiden": 64}, "unknown option 'hiden' for pairs=: want .*hidden"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bebr.train(TRAINING[1], **({"pairs": TRAINING, "widths": (32,)} | options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(bebr.DeviceUnavailable, match="device='cuda': torch finds no CUDA device here"):
        train(TRAINING, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_tunes_as_well() -> None:
    assert (
        first(train(TRAINING, device="cuda"), NEW)
        > first(bebr.train(TRAINING[1], widths=(32, 32), rounds=0), NEW) + 0.1
    )
