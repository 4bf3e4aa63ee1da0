"""The paper's recurrent network: start from the closed form, training, export."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import bebr
from tests.conftest import clustered

torch = pytest.importorskip("torch", reason="training the recurrent network needs torch")

from bebr.training.gradient.losses import distillation, hard_negatives  # noqa: E402
from bebr.training.gradient.model import RecurrentNetwork, sign  # noqa: E402
from bebr.training.gradient.start import ClosedFormCode, start_from_closed_form  # noqa: E402
from bebr.training.linear.closed_form import fit  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """1,500 vectors of 64 dimensions: enough for a start and a few epochs."""
    return clustered(1500, 64)


def train(x: np.ndarray, **options: Any) -> bebr.Binarizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on few vectors the closed form often wins; that is tested below
        return bebr.train(x, architecture="recurrent", **options)


def test_sign_passes_the_gradient_inside_one_and_leaves_the_incoming_one_alone() -> None:
    z = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    out = sign(z)
    assert out.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    incoming = torch.full((7,), 3.0)
    out.backward(incoming)
    assert z.grad.tolist() == [0, 3, 3, 3, 3, 3, 0]
    assert incoming.tolist() == [3] * 7


@pytest.mark.parametrize(("hidden", "blocks"), [(0, 1), (160, 1), (160, 3)])
def test_one_plane_starts_as_the_closed_form_to_the_bit(vectors: np.ndarray, hidden: int, blocks: int) -> None:
    form = fit(vectors, (64,), seed=0)
    network = RecurrentNetwork(64, (64,), hidden, blocks)
    start_from_closed_form(network, form, vectors)
    with torch.no_grad():
        x = torch.from_numpy(vectors)
        same = network(x) == ClosedFormCode(form, (64,))(x)
    assert same.float().mean() > 0.9999  # but for rounding round 0


@pytest.mark.parametrize("hidden", [0, 160])
def test_several_planes_start_near_the_closed_form(hidden: int) -> None:
    widths = (56, 40, 16)
    bz = train(clustered(3000, 64), widths=widths, hidden=hidden, epochs=0)
    heldout = bz.config["heldout"]
    assert heldout["start"] == heldout["end"] > heldout["closed_form"] - 0.02


def test_hidden_layer_too_narrow_for_the_closed_form_is_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="hidden is 100: want at least 128 to start from the closed form"):
        train(vectors, widths=(64,), hidden=100, epochs=0)


@pytest.mark.parametrize(
    ("hidden", "blocks", "init"), [(0, 1, "closed_form"), (160, 1, "closed_form"), (48, 2, "random")]
)
def test_the_engine_codes_as_the_trained_network(vectors: np.ndarray, hidden: int, blocks: int, init: str) -> None:
    """Export folds BatchNorm; an independent float64 forward of the exported tensors gives the engine's bits."""
    bz = train(vectors, widths=(64, 48, 8), hidden=hidden, blocks=blocks, init=init, epochs=1)
    assert bz.architecture == "recurrent" and bz.widths == (64, 48, 8)
    assert np.mean(bz.encode(vectors).planes != recurrent_planes(tensors_of(bz), bz.widths, vectors)) < 1e-3


def test_training_never_ends_below_its_start(vectors: np.ndarray) -> None:
    """Even at a rate that ruins the network: the start competes."""
    good = train(vectors, widths=(64, 32), epochs=3).config["heldout"]
    ruined = train(vectors, widths=(64, 32), epochs=1, learning_rate=3.0).config["heldout"]
    assert good["end"] >= good["start"]
    assert ruined["end"] >= ruined["start"] == good["start"]


def test_training_from_random_learns() -> None:
    heldout = train(clustered(3000, 64), widths=(64,), init="random", epochs=8, batch=200).config["heldout"]
    assert heldout["end"] > heldout["start"] + 0.03


def test_a_worse_network_than_the_closed_form_says_so(vectors: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="architecture='linear' does better here"):
        bebr.train(vectors, architecture="recurrent", widths=(64,), init="random", epochs=0)


def test_the_same_seed_gives_the_same_model_and_leaves_torch_alone(vectors: np.ndarray) -> None:
    options: dict[str, Any] = {"widths": (64, 32), "hidden": 160, "epochs": 1}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = train(vectors, seed=1, **options)
    assert torch.equal(torch.rand(3), expected)
    assert train(vectors, seed=1, **options).digest == first.digest
    assert train(vectors, seed=2, **options).digest != first.digest


def test_search_works_both_ways(vectors: np.ndarray, queries: np.ndarray) -> None:
    bz = train(vectors, widths=(64, 56, 32), epochs=1)
    index = bebr.FlatIndex(bz)
    index.add(vectors)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    for query, least in (("float", 0.6), ("code", 0.5)):
        ids = index.search(queries, 10, query=query).ids
        assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(ids, truth, strict=True)]) > least
    assert np.mean(np.sum(bz.decode(bz.encode(vectors)) * vectors, axis=1)) > 0.9


def test_pairs_carry_codes_past_raw_floats() -> None:
    """Two views share half of their directions; the other half is noise that the raw cosine cannot tell apart."""
    rng = np.random.default_rng(0)
    shared, turn = rng.standard_normal((1600, 16)), np.linalg.qr(rng.standard_normal((32, 32)))[0]

    def view() -> np.ndarray:
        noise = rng.standard_normal((1600, 32)) * np.repeat([0.5, 1.5], 16)
        return ((np.hstack([shared, np.zeros_like(shared)]) + noise) @ turn).astype(np.float32)

    left, right = view(), view()
    bz = train(right[:1300], widths=(32, 32, 32), pairs=(left[:1300], right[:1300]), epochs=20, batch=200)
    index = bebr.FlatIndex(bz)
    index.add(right[1300:])
    own = np.arange(300)[:, None]
    unit = [side[1300:] / np.linalg.norm(side[1300:], axis=1, keepdims=True) for side in (left, right)]
    floats = np.mean(np.argsort(-(unit[0] @ unit[1].T), axis=1)[:, :10] == own) * 10
    for query in ("float", "code"):
        found = np.mean(index.search(left[1300:], 10, query=query).ids == own) * 10
        assert found > floats + 0.1, (query, found, floats)
    assert bz.config["heldout"]["end"] > bz.config["heldout"]["closed_form"]


def test_losses_are_least_where_they_should_be() -> None:
    x = torch.nn.functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert distillation(x, x, 0.1) == pytest.approx(0, abs=1e-6)
    assert distillation(x, x.flip(0), 0.1) > 0.1
    alone = torch.arange(20)
    assert hard_negatives(x, x, alone, 0.05) < hard_negatives(x, x.flip(0), alone, 0.05)
    # Everything in one group leaves no negatives, so nothing to lose.
    assert hard_negatives(x, x.flip(0), torch.zeros(20, dtype=torch.long), 0.05) == pytest.approx(0, abs=1e-6)


def test_progress_ends_where_it_said(vectors: np.ndarray) -> None:
    seen: list[tuple[str, int, int]] = []
    train(vectors, widths=(64,), epochs=2, progress=lambda *step: seen.append(step))
    assert [step for step in seen if step[0] == "recurrent"] == [("recurrent", i, 2) for i in range(3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "zeros"}, "init is 'zeros'"),
        ({"hidden": -1}, "hidden is -1: want at least 0"),
        ({"hidden": 160, "blocks": 0}, "blocks is 0: want at least 1"),
        ({"epochs": -1}, "epochs is -1"),
        ({"batch": 1}, "batch is 1: want at least 8"),
        ({"device": "abacus"}, "device is 'abacus': want 'cpu' or 'cuda'"),
        ({"metric": "l2"}, r"x\[0\] has length 2: architecture='recurrent' with metric='l2' wants unit vectors"),
        ({"pairs": (np.ones((40, 64)), np.ones((41, 64)))}, "pairs has 40 queries and 41 documents"),
        ({"pairs": (np.ones((40, 64)), np.ones((40, 63)))}, r"pairs\[1\] has shape \(40, 63\)"),
        ({"pairs": (np.ones((4, 64)), np.ones((4, 64)))}, "pairs has 4 rows: want at least 32"),
    ],
)
def test_bad_options_are_named(vectors: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(vectors * 2, widths=(64,), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_said(vectors: np.ndarray) -> None:
    with pytest.raises(bebr.DeviceUnavailable, match="device='cuda': torch finds no CUDA device here"):
        bebr.train(vectors, architecture="recurrent", widths=(64,), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_as_well(vectors: np.ndarray) -> None:
    heldout = train(vectors, widths=(64, 32), epochs=3, device="cuda").config["heldout"]
    assert heldout["end"] >= heldout["start"]


def tensors_of(bz: bebr.Binarizer) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return {name: value.astype(np.float64) for name, value in load(bz.to_bytes()).items()}


def recurrent_planes(tensors: dict[str, np.ndarray], widths: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """The recurrent binarization of docs/method.md in float64, row format."""

    def run(name: str, h: np.ndarray) -> np.ndarray:
        i = 0
        while f"{name}.{i}.weight" in tensors:
            h = np.maximum(h, 0) if i else h
            h = h @ tensors[f"{name}.{i}.weight"].T + tensors[f"{name}.{i}.bias"]
            i += 1
        return h

    f = x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True)
    bits = [run("encoder", f) >= 0]
    v = np.where(bits[0], 1.0, -1.0)
    for t, width in enumerate(widths[1:]):
        back = run(f"reconstruct.{t}", v)
        bits.append(run(f"residual.{t}", f - back / np.linalg.norm(back, axis=1, keepdims=True)) >= 0)
        v[:, :width] += np.where(bits[-1], 1.0, -1.0) / 2 ** (t + 1)
    return np.hstack([np.packbits(b, axis=1, bitorder="little") for b in bits])
