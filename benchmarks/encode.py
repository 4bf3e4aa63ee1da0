"""Time of encoding: the engine (fp32; bf16 where the instruction set has it) against torch's forward pass of the same
model.

    python benchmarks/encode.py --rows 2000 --rounds 7 --threads 1 2

Prints one JSON document: per case the median seconds of each contender, vectors a second, and the ratio to torch. All
contenders of a case run in turn, round after round, so that a busy machine disturbs them alike. torch runs the float
part only (its layers and signs, under inference_mode); the engine also checks its input and packs the bits. The models
have no factors, which need a decoder.

    python -m benchmarks.encode --trained wordnet --bytes 50

times a binarizer trained on that data set instead: documents optimized as by default and by rounding alone, queries of
both kinds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

import bebr
from benchmarks import datasets

CASES = {
    "linear 384 -> 384 x 1": ("linear", 384, (384,), 0),
    "linear 384 -> 240, 112, 32": ("linear", 384, (240, 112, 32), 0),
    "recurrent 512 -> 512 x 2, H 2048": ("recurrent", 512, (512, 512), 2048),
}

Layers = list[tuple[np.ndarray, np.ndarray]]


def random_network(rng: np.random.Generator, *dims: int) -> Layers:
    """Layers with weights of unit gain and small biases."""
    return [
        (
            (rng.standard_normal((o, i)) / np.sqrt(i)).astype(np.float32),
            (0.1 * rng.standard_normal(o)).astype(np.float32),
        )
        for i, o in pairwise(dims)
    ]


def random_model(architecture: str, d: int, widths: tuple[int, ...], hidden: int, seed: int) -> list[Layers]:
    """The encoder, then for each further plane of a recurrent model what reconstructs and what encodes the residual."""
    rng = np.random.default_rng(seed)
    inner = (hidden,) if hidden else ()
    networks = [random_network(rng, d, *inner, widths[0])]
    if architecture == "recurrent":
        for width in widths[1:]:
            networks += [random_network(rng, widths[0], *inner, d), random_network(rng, d, *inner, width)]
    return networks


def binarizer(architecture: str, widths: tuple[int, ...], networks: list[Layers]) -> bebr.Binarizer:
    """The same model in bebr."""
    names = ["encoder", *(f"{part}.{t}" for t in range(len(widths) - 1) for part in ("reconstruct", "residual"))]
    tensors = {
        f"{name}.{i}.{kind}": tensor
        for name, layers in zip(names, networks, strict=False)  # a linear model has the first only
        for i, layer in enumerate(layers)
        for kind, tensor in zip(("weight", "bias"), layer, strict=True)
    }
    config = {"architecture": architecture, "widths": list(widths), "metric": "ip", "factor": "none"}
    return bebr.Binarizer.from_tensors(tensors, config | {"input_dim": networks[0][0][0].shape[1]})


def torch_forward(
    architecture: str, widths: tuple[int, ...], networks: list[Layers]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same model in torch: x -> accumulated code values [n, widths[0]]."""

    def stack(layers: Layers) -> torch.nn.Sequential:
        modules: list[torch.nn.Module] = []
        for weight, bias in layers:
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight.data, linear.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
            modules += [linear, torch.nn.ReLU(inplace=True)]
        return torch.nn.Sequential(*modules[:-1])

    nets = [stack(layers) for layers in networks]
    one = torch.ones(())

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            z = nets[0](x)
            v = torch.where(z >= 0, one, -one)
            for t, width in enumerate(widths[1:], start=1):
                if architecture == "linear":
                    remainder = z[:, :width] - v[:, :width]
                else:
                    remainder = nets[2 * t](x - torch.nn.functional.normalize(nets[2 * t - 1](v)))
                v[:, :width] += torch.where(remainder >= 0, one, -one) * 2.0**-t
            return v

    return forward


def time_case(name: str, rows: int, rounds: int, threads: int) -> dict[str, object]:
    """Median seconds of each contender over `rounds` interleaved rounds, after one to warm up."""
    architecture, d, widths, hidden = CASES[name]
    networks = random_model(architecture, d, widths, hidden, seed=0)
    x = np.random.default_rng(1).standard_normal((rows, d)).astype(np.float32)
    model, forward, tensor = (
        binarizer(architecture, widths, networks),
        torch_forward(architecture, widths, networks),
        torch.from_numpy(x),
    )
    bebr.set_num_threads(threads)
    torch.set_num_threads(threads)
    contenders: dict[str, Callable[[], object]] = {
        "torch fp32": lambda: forward(tensor),
        "bebr fp32": lambda: model.encode(x),
    }
    if bebr.info()["isa"] == "amx":
        contenders["bebr bf16"] = lambda: model.encode(x, bf16=True)
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    for round_ in range(rounds + 1):
        for key, run in contenders.items():
            start = time.perf_counter()
            run()
            if round_ > 0:
                seconds[key].append(time.perf_counter() - start)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    return {
        "case": name,
        "rows": rows,
        "threads": threads,
        "median_seconds": median,
        "best_seconds": {key: min(values) for key, values in seconds.items()},
        "vectors_per_second": {key: round(rows / value) for key, value in median.items()},
        "times_torch": {key: round(median["torch fp32"] / value, 3) for key, value in median.items()},
    }


def time_trained(name: str, size: int, rows: int, rounds: int, threads: int) -> dict[str, object]:
    """Vectors a second of a real model on held-out rows of its set: median of `rounds` interleaved rounds."""
    data = datasets.load(name)
    model = bebr.train(data.train[:20_000], bytes_per_vector=size, metric=data.metric)
    x = np.ascontiguousarray(data.base[:rows])
    bebr.set_num_threads(threads)
    runs: dict[str, Callable[[], object]] = {
        "encode(), optimized, with factors": lambda: model.encode(x),
        "encode(optimize=False), with factors": lambda: model.encode(x, optimize=False),
        "prepare(query='float')": lambda: model.prepare(x),
        "prepare(query='code')": lambda: model.prepare(x, "code"),
    }
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    for round_ in range(rounds + 1):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            if round_ > 0:
                seconds[key].append(time.perf_counter() - start)
    return {
        "case": f"{name}, {size} bytes, widths {'+'.join(map(str, model.widths))}",
        "rows": rows,
        "threads": threads,
        "vectors_per_second": {key: round(rows / statistics.median(values)) for key, values in seconds.items()},
    }


def main() -> None:
    """Runs every case at every thread count and prints the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="vectors a call")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds; the median is reported")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts, the same for both")
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=list(CASES), help="models to time")
    parser.add_argument("--trained", metavar="SET", help="time a model trained on this data set instead")
    parser.add_argument("--bytes", type=int, default=50, help="bytes of a vector, for --trained")
    args = parser.parse_args()
    if args.trained:
        trained = [time_trained(args.trained, args.bytes, args.rows, args.rounds, threads) for threads in args.threads]
        print(json.dumps({"isa": bebr.info()["isa"], "results": trained}, indent=2))
        return
    results = [time_case(name, args.rows, args.rounds, threads) for name in args.cases for threads in args.threads]
    print(json.dumps({"isa": bebr.info()["isa"], "torch": torch.__version__, "results": results}, indent=2))


if __name__ == "__main__":
    main()
