"""How many rows of which shards leaves have, as each of them says."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bebr.cluster.names import Shard, parsed
from bebr.errors import CorruptFile
from bebr.serve.client import Client

_AT_ONCE = 32


def census(addresses: Sequence[str], timeout: float = 5.0) -> dict[Shard, dict[str, int]]:
    """The rows of each shard at each leaf that has it. A leaf that does not answer is left out."""

    def of(address: str) -> dict[Shard, int]:
        try:
            with Client(address, timeout=timeout, retries=0) as db:
                return {parsed(name): len(db.collection(name)) for name in db.collections()}
        except (ConnectionError, TimeoutError, CorruptFile, KeyError):
            return {}

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        said = dict(zip(addresses, threads.map(of, addresses), strict=True))
    shards = sorted({shard for rows in said.values() for shard in rows}, key=str)
    return {shard: {address: rows[shard] for address, rows in said.items() if shard in rows} for shard in shards}
