"""The engine's encoder against torch's forward pass of the same network, on every instruction set this machine runs.

A bit may differ only where torch itself cannot tell the sign: where its value is within rounding of 0.
"""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bebr import _core
from tests.isas import ISAS

torch = pytest.importorskip("torch", reason="the reference forward pass is torch's")

Layers = list[tuple[np.ndarray, np.ndarray]]
DIM, ROWS = 75, 331  # neither a multiple of a tile

# Run in a process of its own: the instruction set is chosen once a process.
WORKER = """
import pickle, sys
from bebr import _core
jobs, bf16 = pickle.load(sys.stdin.buffer)
results = []
for architecture, widths, networks, x in jobs:
    results.append(_core.Encoder(architecture, widths, networks, True).encode(x, bf16))
sys.stdout.buffer.write(pickle.dumps((_core.isa(), results)))
"""


def network(rng: np.random.Generator, *dims: int) -> Layers:
    return [
        (
            (rng.standard_normal((o, i)) / np.sqrt(i)).astype(np.float32),
            (rng.standard_normal(o) / 10).astype(np.float32),
        )
        for i, o in pairwise(dims)
    ]


def model(architecture: str, widths: Sequence[int], hidden: int) -> list[Layers]:
    """Networks in the engine's order: encoder, then reconstruct and residual of every refinement."""
    rng = np.random.default_rng(len(widths) + hidden)
    inner = (hidden,) if hidden else ()
    networks = [network(rng, DIM, *inner, widths[0])]
    if architecture == "recurrent":
        for width in widths[1:]:
            networks += [network(rng, widths[0], *inner, DIM), network(rng, DIM, *inner, width)]
    return networks


def forward(layers: Layers, x: torch.Tensor) -> torch.Tensor:
    for i, (weight, bias) in enumerate(layers):
        x = torch.nn.functional.linear(x, torch.from_numpy(weight), torch.from_numpy(bias))
        x = torch.relu(x) if i + 1 < len(layers) else x
    return x


def reference(
    architecture: str, widths: Sequence[int], networks: list[Layers], x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bits [n, sum(widths)] by the equations of docs/method.md, and what each is the sign of."""
    f = torch.nn.functional.normalize(torch.from_numpy(x), dim=1)
    z = forward(networks[0], f)
    v, values = torch.where(z >= 0, 1.0, -1.0), [z]
    for t, width in enumerate(widths[1:], start=1):
        if architecture == "linear":
            value = (z - v)[:, :width]
        else:
            value = forward(networks[2 * t], f - torch.nn.functional.normalize(forward(networks[2 * t - 1], v), dim=1))
        v[:, :width] += torch.where(value >= 0, 1.0, -1.0) * 2.0**-t
        values.append(value)
    joined = torch.cat(values, dim=1).numpy()
    return joined >= 0, joined


CASES = [
    (architecture, widths, hidden)
    for architecture, hiddens in (("linear", (0,)), ("recurrent", (0, 200)))
    for widths in ([104], [64, 64], [104, 64, 8], [128, 128, 40, 8])
    for hidden in hiddens
]


Job = tuple[str, Sequence[int], list[Layers], np.ndarray]


@functools.cache
def cases() -> tuple[list[Job], list[tuple[np.ndarray, np.ndarray]]]:
    """What every instruction set is given, and the references."""
    x = np.random.default_rng(7).standard_normal((ROWS, DIM)).astype(np.float32)
    jobs = [(architecture, widths, model(architecture, widths, hidden), x) for architecture, widths, hidden in CASES]
    return jobs, [reference(*job) for job in jobs]


def encode_all(isa: str, bf16: bool) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    """Bits of every case from a process held to ``isa``, and the references."""
    jobs, references = cases()
    root = str(Path(_core.__file__).parents[1])
    environment = {
        **os.environ,
        "BEBR_ISA": isa,
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=pickle.dumps((jobs, bf16)),
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    used, planes = pickle.loads(done.stdout)
    assert used == isa
    bits = [np.unpackbits(p, axis=1, bitorder="little").astype(bool) for p in planes]
    return bits, references


def require(isa: str) -> None:
    if isa not in _core.runnable_isas():
        demanded = os.environ.get("BEBR_REQUIRE_ISA", "scalar")
        assert isa not in ISAS or ISAS.index(demanded) < ISAS.index(isa), (
            f"BEBR_REQUIRE_ISA demands {demanded}, this machine lacks {isa}"
        )
        pytest.skip(f"this machine has no {isa}")


@pytest.mark.parametrize("isa", ISAS)
def test_codes_equal_torch_where_torch_can_tell(isa: str) -> None:
    require(isa)
    different = total = 0
    for case, bits, (want, values) in zip(CASES, *encode_all(isa, bf16=False), strict=True):
        assert bits.shape == want.shape
        wrong = bits != want
        # A flipped bit changes what the following planes of its row code: only a row's first flip is torch's to judge.
        first = wrong & (np.cumsum(wrong, axis=1) == 1)
        assert np.abs(values[first]).max(initial=0) < 1e-5, case
        assert 0.3 < bits.mean() < 0.7, case
        different, total = different + int(wrong.sum()), total + wrong.size
    assert different / total < 1e-4, f"{different} of {total} bits differ"


def test_bf16_agrees_with_torch_on_nearly_all_bits() -> None:
    require("amx")
    for case, bits, (want, _) in zip(CASES, *encode_all("amx", bf16=True), strict=True):
        assert (bits == want).mean() > 0.97, case


def test_bf16_is_refused_by_name_where_there_is_none() -> None:
    if _core.isa() == "amx":
        pytest.skip("this process has bf16")
    encoder = _core.Encoder("linear", [8], [network(np.random.default_rng(0), 8, 8)], False)
    with pytest.raises(ValueError, match=f"needs instruction set amx; this process uses {_core.isa()}"):
        encoder.encode(np.zeros((1, 8), np.float32), True)


def test_zero_codes_as_plus_one() -> None:
    weight, bias = np.eye(8, dtype=np.float32), np.zeros(8, np.float32)
    x = np.array([[0, -0.0, 1, -1, 2, -2, 0.5, -0.5]], np.float32)
    planes = _core.Encoder("linear", [8, 8], [[(weight, bias)]], False).encode(x)
    assert np.unpackbits(planes, bitorder="little").tolist() == [1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1]


def test_successive_approximation_is_exact_next_to_a_step() -> None:
    """z just below, at and just above a value of the code: a rounded difference would lose the side it is on."""
    below, above = np.nextafter(np.float32(1), np.float32(0)), np.nextafter(np.float32(1), np.float32(2))
    x = np.array([[below, 1, above, -below, -1, -above, 1e-30, -1e-30]], np.float32)
    planes = _core.Encoder("linear", [8, 8], [[(np.eye(8, dtype=np.float32), np.zeros(8, np.float32))]], False).encode(
        x
    )
    bits = np.unpackbits(planes, bitorder="little").reshape(2, 8)
    assert bits[0].tolist() == [1, 1, 1, 0, 0, 0, 1, 0]
    assert bits[1].tolist() == [0, 1, 1, 1, 1, 0, 0, 1]


def test_a_row_codes_the_same_alone_in_a_batch_and_on_more_threads() -> None:
    widths = [64, 64]
    encoder = _core.Encoder("recurrent", widths, model("recurrent", widths, 200), True)
    x = np.random.default_rng(3).standard_normal((1000, DIM)).astype(np.float32)
    threads = _core.num_threads()
    try:
        _core.set_num_threads(1)
        want = encoder.encode(x)
        _core.set_num_threads(4)
        assert np.array_equal(encoder.encode(x), want)
    finally:
        _core.set_num_threads(threads)
    assert np.array_equal(np.concatenate([encoder.encode(x[i : i + 1]) for i in range(30)]), want[:30])
    assert encoder.encode(x[:0]).shape == (0, 16)


def test_normalize_makes_length_immaterial() -> None:
    widths = [64, 64]
    networks = model("recurrent", widths, 0)
    x = np.random.default_rng(4).standard_normal((100, DIM)).astype(np.float32)
    scaled = x * np.float32(4)  # a power of two: not even rounding changes
    normalizing, plain = (_core.Encoder("recurrent", widths, networks, flag) for flag in (True, False))
    assert np.array_equal(normalizing.encode(x), normalizing.encode(scaled))
    assert not np.array_equal(plain.encode(x), plain.encode(scaled))


@pytest.mark.parametrize("power", [-130, -110, -70, -60, 62, 70, 110, 125])
def test_lengths_whose_squares_no_float_holds_are_immaterial_too(power: int) -> None:
    widths = [64, 64]
    encoder = _core.Encoder("recurrent", widths, model("recurrent", widths, 0), True)
    x = np.random.default_rng(4).standard_normal((100, DIM)).astype(np.float32)
    same = encoder.encode(np.ldexp(x, power)) == encoder.encode(x)
    assert same.mean() > 0.99  # summed in another way, a length may round otherwise
    assert np.array_equal(encoder.encode(np.vstack([x, np.ldexp(x, power)]))[:100], encoder.encode(x))


@pytest.mark.parametrize(
    ("architecture", "widths", "networks", "message"),
    [
        ("nearest", [8], [(DIM, 8)], "architecture is 'nearest': want linear or recurrent"),
        ("linear", [8], [(DIM, 16)], "output dimension of encoder is 16: want 8"),
        ("linear", [8], [(DIM, 8), (8, DIM)], "number of networks is 2: want 1"),
        ("linear", [8], [(DIM, 20, 8)], "layers of a linear encoder is 2: want 1"),
        ("recurrent", [8, 8], [(DIM, 8)], "number of networks is 1: want 3"),
        ("recurrent", [16, 8], [(DIM, 16), (8, DIM), (DIM, 8)], "input dimension of reconstruct.0 is 8: want 16"),
        ("recurrent", [16, 8], [(DIM, 16), (16, DIM), (DIM, 16)], "output dimension of residual.0 is 16: want 8"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    architecture: str, widths: list[int], networks: list[tuple[int, ...]], message: str
) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        _core.Encoder(architecture, widths, [network(rng, *dims) for dims in networks], False)


def test_a_broken_chain_of_layers_is_named() -> None:
    rng = np.random.default_rng(0)
    layers = network(rng, DIM, 20) + network(rng, 21, 8)
    with pytest.raises(ValueError, match=r"encoder\.1\.weight takes 21 inputs: want 20"):
        _core.Encoder("recurrent", [8], [layers], False)


@pytest.mark.parametrize("widths", [[8], [64, 64], [104, 40, 8]])
@pytest.mark.parametrize("dim", [8, 33, 200])
def test_decoder_is_affine_in_the_code(widths: list[int], dim: int) -> None:
    """decode, norms and project against float64: errors of a few float32 roundings, of project its integers."""
    rng = np.random.default_rng(dim)
    weight, mean = rng.standard_normal((widths[0], dim)).astype(np.float32), rng.standard_normal(dim).astype(np.float32)
    decoder = _core.Decoder(weight, mean, widths)
    planes = rng.integers(0, 256, (217, sum(widths) // 8), dtype=np.uint8)
    bits, v, start = np.unpackbits(planes, axis=1, bitorder="little") * 2.0 - 1, np.zeros((217, widths[0])), 0
    for t, width in enumerate(widths):
        v[:, :width] += bits[:, start : start + width] * 2.0**-t
        start += width
    want = v @ weight.astype(np.float64) + mean
    assert np.abs(decoder.decode(planes) - want).max() < 1e-6 * widths[0]
    assert np.allclose(decoder.norms(planes), (want**2).sum(axis=1), rtol=1e-5)
    q = rng.standard_normal((19, dim)).astype(np.float32)
    y, base = decoder.project(q)
    lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(weight, axis=1)
    assert (np.abs(y - q @ weight.T.astype(np.float64)) / lengths).max() < 1e-4
    assert np.abs(base - q @ mean.astype(np.float64)).max() < 1e-6 * dim
