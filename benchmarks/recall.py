"""Does bebr keep its promise of recall per byte? Ours against faiss RaBitQ of a little more bytes; exit 1 where not.

python -m benchmarks.recall wordnet debian
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

import bebr
from bebr.peers import Peer, available, missing, recall
from benchmarks import datasets, machine, output, sources


@dataclass(frozen=True)
class Promise:
    """At ``size`` bytes ADC reaches faiss RaBitQ of ``bits`` plus ``adc``, SDC it plus ``sdc``."""

    size: int
    bits: int
    adc: float
    sdc: float


PROMISES = (Promise(52, 1, 0.05, -0.01), Promise(100, 2, 0.03, -0.01), Promise(196, 4, 0.012, -0.01))


@dataclass(frozen=True)
class Finding:
    """Recall of both modes beside the peer's, and whether the promise holds."""

    dataset: str
    size: int
    widths: tuple[int, ...]
    adc: float
    sdc: float
    peer: str
    peer_bytes: float
    peer_recall: float
    kept: bool


def check(data: datasets.Dataset, promise: Promise, peer: Peer, k: int = 10) -> Finding:
    """Train, index and search both; default refinement, no rerank."""
    truth = data.truth(k)
    model = bebr.train(data.train, bytes_per_vector=promise.size, metric=data.metric, seed=0)
    index = bebr.FlatIndex(model)
    index.add(data.base)
    adc = recall(index.search(data.queries, k, query="float").ids, truth)
    sdc = recall(index.search(data.queries, k, query="code").ids, truth)
    peer.fit(data.train)
    peer.add(data.base)
    other = recall(peer.search(data.queries, k, bebr.get_num_threads()), truth)
    kept = adc >= other + promise.adc and sdc >= other + promise.sdc
    widths = tuple(model.widths)
    return Finding(data.name, promise.size, widths, adc, sdc, peer.name, peer.bytes_per_vector, other, kept)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.recall``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall", description=__doc__.partition("\n")[0])
    parser.add_argument("datasets", nargs="*", default=["wordnet", "debian"], help=f"of: {', '.join(datasets.names())}")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = output.console()
    if absent := [line for line in missing() if line.startswith("faiss")]:
        console.print(*absent)
        return 1
    table = Table("data", "bytes", "widths", "ADC", "SDC", "peer", "its bytes", "its recall@10", "kept")
    findings = []
    for name in options.datasets:
        try:
            data = datasets.load(name)
        except (KeyError, sources.MissingSource) as error:
            console.print(str(error.args[0]))
            return 1
        peers = {peer.name: peer for peer in available(data.base.shape[1], data.metric)}
        for promise in PROMISES:
            found = check(data, promise, peers[f"faiss RaBitQ{promise.bits}"])
            findings.append(found)
            table.add_row(
                *(name, str(found.size), ",".join(map(str, found.widths)), f"{found.adc:.4f}", f"{found.sdc:.4f}"),
                *(found.peer, f"{found.peer_bytes:g}", f"{found.peer_recall:.4f}", "yes" if found.kept else "NO"),
            )
    console.print(table)
    if options.json:
        output.save(options.json, machine.facts(bebr.get_num_threads()), [asdict(found) for found in findings])
    return 0 if all(found.kept for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
