"""Checkpoints of the published shape, made up at small size, against a float64 forward from the equations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr import load_released

DIM, DIMS, HIDDEN = 40, 24, 56
State = dict[str, np.ndarray]


def linear(rng: np.random.Generator, state: State, name: str, inputs: int, outputs: int) -> None:
    state[f"{name}.weight"] = (rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)
    state[f"{name}.bias"] = (rng.standard_normal(outputs) / 10).astype(np.float32)


def norm(rng: np.random.Generator, state: State, name: str) -> None:
    state[f"{name}.weight"] = rng.uniform(0.5, 2, HIDDEN).astype(np.float32)
    for part in ("bias", "running_mean"):
        state[f"{name}.{part}"] = (rng.standard_normal(HIDDEN) / 10).astype(np.float32)
    state[f"{name}.running_var"] = rng.uniform(0.2, 3, HIDDEN).astype(np.float32)
    state[f"{name}.num_batches_tracked"] = np.array(289)


def checkpoint(refinements: int, blocks: int) -> State:
    """A state dict as the published training code names it. blocks 0: no hidden layer."""
    rng, state = np.random.default_rng(refinements * 10 + blocks), State()
    for name, (inputs, outputs) in {
        "W": (DIM, DIMS),
        **{f"B{t}": (DIMS, DIM) for t in range(refinements)},
        **{f"R{t}": (DIM, DIMS) for t in range(refinements)},
    }.items():
        if blocks == 0:
            linear(rng, state, name, inputs, outputs)
        elif blocks == 1:
            linear(rng, state, f"{name}.0", inputs, HIDDEN)
            norm(rng, state, f"{name}.1")
            linear(rng, state, f"{name}.3", HIDDEN, outputs)
        else:
            for i in range(blocks):
                linear(rng, state, f"{name}.{i}.fc", HIDDEN if i else inputs, HIDDEN)
                norm(rng, state, f"{name}.{i}.bn")
            linear(rng, state, f"{name}.{blocks}", HIDDEN, outputs)
    return state


def run(state: State, name: str, blocks: int, x: np.ndarray) -> np.ndarray:
    """One transformation in float64: BatchNorm as it is defined, not folded."""

    def affine(at: str, h: np.ndarray) -> np.ndarray:
        return h @ state[f"{at}.weight"].T.astype(np.float64) + state[f"{at}.bias"]

    def normed(at: str, h: np.ndarray) -> np.ndarray:
        spread = np.sqrt(state[f"{at}.running_var"].astype(np.float64) + 1e-5)
        return (h - state[f"{at}.running_mean"]) / spread * state[f"{at}.weight"] + state[f"{at}.bias"]

    if blocks == 0:
        return affine(name, x)
    if blocks == 1:
        return affine(f"{name}.3", np.maximum(normed(f"{name}.1", affine(f"{name}.0", x)), 0))
    for i in range(blocks):
        x = np.maximum(normed(f"{name}.{i}.bn", affine(f"{name}.{i}.fc", x)), 0)
    return affine(f"{name}.{blocks}", x)


def code(state: State, refinements: int, blocks: int, f: np.ndarray) -> np.ndarray:
    """b_u of arXiv 2302.08714, float64[n, m]."""
    b = np.where(run(state, "W", blocks, f) >= 0, 1.0, -1.0)
    for t in range(refinements):
        back = run(state, f"B{t}", blocks, b)
        back /= np.linalg.norm(back, axis=1, keepdims=True)
        b += 2.0 ** -(t + 1) * np.where(run(state, f"R{t}", blocks, f - back) >= 0, 1, -1)
    return b


def unit(n: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("blocks", [0, 1, 3])
@pytest.mark.parametrize("refinements", [0, 1, 3])
def test_codes_and_scores_are_the_papers(refinements: int, blocks: int) -> None:
    state = checkpoint(refinements, blocks)
    bz = load_released(state)
    assert bz.architecture == "recurrent" and bz.widths == (DIMS,) * (refinements + 1) and bz.input_dim == DIM
    docs, queries = unit(300, 1), unit(20, 2)
    d, q = code(state, refinements, blocks, docs), code(state, refinements, blocks, queries)
    planes = np.unpackbits(bz.encode(docs).planes, axis=1, bitorder="little").reshape(300, refinements + 1, DIMS)
    values = np.tensordot(planes * 2.0 - 1, 2.0 ** -np.arange(refinements + 1), axes=([1], [0]))
    assert np.mean(values != d) < 1e-3
    index = bebr.FlatIndex(bz)
    index.add(docs)
    hits = index.search(queries, 5, query="code", exact=True)
    want = (q @ d.T) / np.linalg.norm(d, axis=1)
    # fp16 holds the factor; a code's length divides it, the query's does not (it changes no order).
    assert np.allclose(hits.scores, -np.sort(-want, axis=1)[:, :5], rtol=2e-3)


def test_reads_files_with_and_without_wrapping(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    state = checkpoint(1, 1)
    want = load_released(state).digest
    save_file(state, tmp_path / "bebr.safetensors")
    assert load_released(tmp_path / "bebr.safetensors").digest == want
    assert load_released({f"module.{name}": value for name, value in state.items()}).digest == want


def test_reads_torch_checkpoints(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="a .pt file needs torch")
    state = {name: torch.from_numpy(value) for name, value in checkpoint(1, 2).items()}
    torch.save(state, tmp_path / "bare.pt")
    torch.save({"model": state, "epoch": 10}, tmp_path / "wrapped.pth")
    want = load_released(checkpoint(1, 2)).digest
    assert load_released(tmp_path / "bare.pt").digest == load_released(str(tmp_path / "wrapped.pth")).digest == want


def test_a_checkpoint_that_could_run_code_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="a .pt file needs torch")
    torch.save({"model": {}, "config": Path("x")}, tmp_path / "config.pt")
    with pytest.raises(bebr.CorruptFile, match="holds more than weights"):
        load_released(tmp_path / "config.pt")


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("W.3.weight", "tensor W.3.weight is missing"),
        ("B0.1.running_var", "tensor B0.1.running_var is missing"),
        ("R0.0.weight", "R0.0"),
    ],
)
def test_a_missing_tensor_is_named(drop: str, message: str) -> None:
    state = checkpoint(1, 1)
    del state[drop]
    with pytest.raises(ValueError, match=message):
        load_released(state)


def test_needs_no_torch_at_import() -> None:
    code = "import sys, bebr.training.released; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(bebr.__file__).parents[1], check=False).returncode == 0


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_released(tmp_path / "absent.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 10)
    with pytest.raises(bebr.CorruptFile, match=r"noise\.safetensors"):
        load_released(tmp_path / "noise.safetensors")
    with pytest.raises(ValueError, match=r"want a \.safetensors, \.pt or \.pth file"):
        load_released(tmp_path / "model.onnx")
