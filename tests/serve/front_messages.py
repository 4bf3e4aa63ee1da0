"""Search requests, changed at random: what the front reads of one is what protobuf reads, or it forwards it.

python -m tests.serve.front_messages [COUNT] [SEED]
"""

from __future__ import annotations

import random
import sys

import numpy as np
from google.protobuf.message import DecodeError

from bebr import _front
from bebr.collection.checks import check_groups
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb

# What makes the front forward a request, where there is one.
REPEATED = ("by_keys", "allow_keys", "text")
# Collections that are published, and the model of their queries.
NAMES, DIGEST = (b"docs", b"a"), b"0123456789abcdef"


def request(rng: random.Random) -> bytes:
    """One that is right, with some of the fields."""
    dim, count = rng.randrange(1, 6), rng.randrange(1, 4)
    values = np.random.default_rng(rng.randrange(1 << 30)).standard_normal((count, dim))
    made = pb.SearchRequest(collection=rng.choice(["docs", "a", "not"]), k=rng.choice([1, 10, 300]))
    made.queries.CopyFrom(convert.vectors_to_message(values.astype(rng.choice([np.float32, np.float16]))))
    options = {
        "query": lambda: rng.randrange(3),
        "oversampling": lambda: rng.choice([1, 2, 400]),
        "exact": lambda: rng.random() < 0.5,
        "model": lambda: DIGEST.decode(),
        "radius": lambda: rng.choice([0.0, 0.5, -2.0, float("nan"), float("inf")]),
        "offset": lambda: rng.choice([0, 1, 200]),
        "rescore": lambda: rng.choice([0, 10, 1000]),
        "nprobe": lambda: rng.choice([0, 1, 7, 1 << 20, (1 << 20) + 1]),
        "ef_search": lambda: rng.choice([0, 1, 90, 1 << 31]),
        "with_payloads": lambda: rng.random() < 0.5,
        "allow": lambda: rng.choice([b"", bytes(8), bytes(7), rng.randbytes(24)]),
        "filter": lambda: "{}",
        "by_ids": lambda: rng.choice([b"", bytes(8), bytes(7), rng.randbytes(16)]),
        "group_by": lambda: "a",
        "group_size": lambda: rng.choice([0, 1, 2, 9999]),
        "fusion": lambda: 1,
    }
    for name in rng.sample(sorted(options), rng.choice([0, 0, 1, 2, 3])):
        setattr(made, name, options[name]())
    if made.HasField("by_ids") and rng.random() < 0.8:
        made.ClearField("queries")
    if rng.random() < 0.05:
        made.text.append("word")
    return bytes(made.SerializeToString())


def changed(data: bytes, rng: random.Random) -> bytes:
    """The same with some bytes or pieces of it in other places, of other values, twice or not at all."""
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        what = rng.randrange(6)
        if what == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif what == 1:
            data = data[:at] + data[end:]
        elif what == 2:
            data = data[:at] + data[at:end] + data[at:]
        elif what == 3:
            data = data + request(rng)  # fields again: the last one counts, and messages are merged
        elif what == 4:
            data = (
                data[:at]
                + rng.choice([b"\x80\x00", b"\xb8\x01\x01", b"\x40\x00", b"\x18\x8a\x00", b"\xff"])
                + data[at:]
            )
        else:
            data = data[:at]
    return data


def check(data: bytes) -> bool:
    """Whether the front answers it. AssertionError where it reads something else than protobuf does."""
    found = _front.read_search(data)
    if found is None or found["collection"] not in NAMES or found["model"] not in (b"", DIGEST):
        return False
    if found["filter"] not in (None, b"{}") or found["group_by"] not in (None, b"a"):  # what was not published
        return False
    try:
        message = pb.SearchRequest.FromString(data)
    except DecodeError:
        raise AssertionError(f"the front reads what is no message: {data!r}") from None
    assert not any(getattr(message, name) for name in REPEATED), data
    assert message.fusion == 0, data
    groups = check_groups(message.group_by if message.HasField("group_by") else None, message.group_size or 1)
    options = convert.options_from_message(message, message.k + message.offset, None, None)
    by_ids = message.HasField("by_ids")
    assert by_ids != message.HasField("queries"), data
    vectors = np.empty(0, np.float32) if by_ids else convert.vectors_from_message(message.queries, "queries")
    wanted = {
        "collection": message.collection.encode(),
        "model": message.model.encode(),
        "queries": vectors.tobytes(),
        "dimension": message.queries.dimension,
        "count": len(message.by_ids) // 8 if by_ids else message.queries.count,
        "k": message.k,
        "group_by": message.group_by.encode() if message.HasField("group_by") else None,
        "group_size": 1 if groups is None else groups.size,
        "offset": message.offset,
        "payloads": message.with_payloads,
        "filter": message.filter.encode() if message.HasField("filter") else None,
        "by_ids": message.by_ids if by_ids else None,
        "allow": message.allow if message.HasField("allow") else None,
        "coded": options.query == "code",
        "exact": options.exact,
        "oversampling": options.oversampling,
        "radius": options.radius,
        "rescore": options.rescore,
        "nprobe": options.nprobe,
        "ef_search": options.ef_search,
    }
    assert {**found, "queries": found["queries"]} == wanted, (data, found, wanted)
    assert np.isfinite(vectors).all() and (options.radius is None or np.isfinite(options.radius)), data
    return True


def run(count: int, seed: int) -> tuple[int, int]:
    """How many the front answers and forwards."""
    rng = random.Random(seed)
    answered = sum(check(changed(request(rng), rng)) for _ in range(count))
    return answered, count - answered


def main() -> None:
    count, seed = (int(text) for text in [*sys.argv[1:], *["100000", "1"][len(sys.argv) - 1 :]])
    answered, forwarded = run(count, seed)
    print(f"{answered} messages are read as protobuf reads them, {forwarded} are forwarded")


if __name__ == "__main__":
    main()
