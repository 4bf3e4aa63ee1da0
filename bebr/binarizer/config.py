"""The configuration of a binarizer: its fields, their checks, and what follows from them without a tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bebr.binarizer.config_types import check_types
from bebr.binarizer.factors import ByteCode, factor_dtype
from bebr.binarizer.maps import KINDS
from bebr.errors import CorruptFile

FORMAT = 1
METRICS = ("cosine", "ip", "l2")
# Names in a model file are older than this package's words. They are part of the format and of every digest, so they
# stay; nothing but these constants connects the two.
OPTIMIZE, OPTIMIZE_GRAM = "refine", "refine.gram"
INPUT_ADAPTER, QUERY_ADAPTER = "front", "query_front"
FIRST_STAGE_ROWS = "survivors"
_MARGIN = 3.0  # of a model written before training measured it
_TENSORS = ("encoder", "reconstruct", "residual", "decoder", "stage", OPTIMIZE, INPUT_ADAPTER, QUERY_ADAPTER, *KINDS)


@dataclass(frozen=True, eq=False)
class BinarizerConfig:
    """Made by :meth:`parse`; the public ones of these are attributes of :class:`bebr.Binarizer` too."""

    entries: Mapping[str, Any] = field(repr=False)
    """All that the file says, what training noted for readers included; the rest of this class is read from it."""
    architecture: str
    """``"linear"`` or ``"recurrent"``, the paper's network (arXiv 2302.08714)."""
    input_dim: int
    """d, the dimensions of the vectors it takes."""
    query_dim: int
    """Dimensions of a query; ``input_dim`` unless queries have an input adapter of their own."""
    widths: tuple[int, ...]
    """Width of each plane, in bits; the sum is the bits of a code."""
    metric: str
    """``"cosine"``, ``"ip"`` or ``"l2"``."""
    factor: str
    """How the stored factor enters a score: ``"mul"``, ``"sub"`` or ``"none"``."""
    stage_factor: bool
    """Whether a second factor, for the sign plane alone, is stored."""
    factor_bytes: int
    """Bytes of each factor: 1, 2 (fp16) or 4 (float32)."""
    factor_code: ByteCode | None
    """What a factor of one byte stands for."""
    stage_factor_code: ByteCode | None
    """The same of the sign plane's own factor."""
    factor_scale: float
    """s of a factor that is subtracted: s * (squared norm - offset)."""
    factor_offset: float
    """That offset."""
    sweeps: int
    """Of the coordinate descent that optimizes a code; 0: there is none."""
    tries: int
    """Restarts of it."""
    margin: float
    """By how many standard deviations of what the sign plane cannot see a row's score is raised before an IVF or graph
    rules it out; measured at training."""
    compatible_with: tuple[str, ...]
    """Digests of the older models whose codes this model's queries may search, its own not among them."""

    @staticmethod
    def parse(config: Mapping[str, Any], tensors: Collection[str]) -> BinarizerConfig:
        """tensors: the names of the tensors beside it. ``ValueError`` names the key or the tensor at fault."""
        c = _checked(dict(config), tensors)
        descent = c.get(OPTIMIZE) or {"sweeps": 0}
        codes = [ByteCode.of(c[key], key) if key in c else None for key in ("factor_code", "stage_factor_code")]
        return BinarizerConfig(
            entries=c,
            architecture=str(c["architecture"]),
            input_dim=int(c["input_dim"]),
            query_dim=int(c.get("query_dim", c["input_dim"])),
            widths=tuple(c["widths"]),
            metric=str(c["metric"]),
            factor=str(c["factor"]),
            stage_factor=bool(c["stage_factor"]),
            factor_bytes=int(c.get("factor_bytes", 2)),
            factor_code=codes[0],
            stage_factor_code=codes[1],
            factor_scale=c["factor_scale"],
            factor_offset=c["factor_offset"],
            sweeps=int(descent["sweeps"]),
            tries=int(descent.get("tries", 0)),
            margin=float(c.get("margin", _MARGIN)),
            compatible_with=tuple(c.get("compatible") or ()),
        )

    @property
    def dims(self) -> int:
        """m, the dimensions of a code: the width of the sign plane."""
        return self.widths[0]

    @property
    def factor_count(self) -> int:
        """Factors stored beside a code."""
        return int(self.factor != "none") + int(self.stage_factor)

    @property
    def code_bytes(self) -> int:
        """Bytes of the planes of one vector."""
        return sum(self.widths) // 8

    @property
    def bytes_per_vector(self) -> int:
        """Bytes stored for one vector, factors included, ids not."""
        return self.code_bytes + self.factor_bytes * self.factor_count

    def byte_codes(self) -> list[ByteCode]:
        """One for each stored factor of one byte, in their order."""
        return [code for code in (self.factor_code, self.stage_factor_code) if code is not None]

    def first_stage_rows(self, rows: int) -> int:
        """How many of ``rows`` the default search completes over all planes after the sign plane.

        Training measures it on one size. Between 8,000 and 116,000 MiniLM vectors it grew as n^0.2 to n^0.35 (52 to
        196 bytes).
        """
        measured = self.entries[FIRST_STAGE_ROWS]
        growth = float(max(rows / int(measured["of"]), 1.0) ** 0.35)
        return math.ceil(1.25 * growth * int(measured["rows"]))

    def skip(self, adapter: str) -> float:
        """s of an input adapter, x -> s x + network(x). Queries without one of their own share the documents'."""
        own = self.entries.get(adapter)
        return float((self.entries[INPUT_ADAPTER] if own is None else own).get("skip", 0.0))

    def to_json(self) -> dict[str, Any]:
        """A copy of what the file carries."""
        return json.loads(json.dumps(self.entries))  # type: ignore[no-any-return]


def _checked(c: dict[str, Any], tensors: Collection[str]) -> dict[str, Any]:
    """``c`` with what was left out; ``ValueError`` names the key or the tensor at fault."""
    c.setdefault("format", FORMAT)
    c.setdefault("stage_factor", False)
    c.setdefault("factor_scale", 1.0)
    c.setdefault("factor_offset", 0.0)
    c.setdefault(FIRST_STAGE_ROWS, {"rows": 1000, "of": 65536})
    c.setdefault("factor", "sub" if c.get("metric") == "l2" else "mul")
    for key in ("architecture", "widths", "metric", "input_dim"):
        if key not in c:
            raise ValueError(f"binarizer config has no {key!r}")
    if c["format"] != FORMAT:
        raise CorruptFile(f"binarizer format {c['format']}: this build reads {FORMAT}")
    check_types(c)
    if c["architecture"] not in ("linear", "recurrent"):
        raise ValueError(f"architecture is {c['architecture']!r}: want 'linear' or 'recurrent'")
    if c["metric"] not in METRICS:
        raise ValueError(f"metric is {c['metric']!r}: want one of {', '.join(METRICS)}")
    if c["factor"] not in ("none", "mul", "sub"):
        raise ValueError(f"factor is {c['factor']!r}: want 'none', 'mul' or 'sub'")
    # Absent is 2: models written before there was a choice keep their digest.
    factor_dtype(c.get("factor_bytes", 2))
    for key, there in (("factor_code", c["factor"] != "none"), ("stage_factor_code", c["stage_factor"])):
        if there and c.get("factor_bytes") == 1:
            ByteCode.of(c.get(key), key)
        elif key in c:
            raise ValueError(f"{key} goes with factor_bytes=1 and a factor it describes")
    c["widths"] = [int(w) for w in c["widths"]]
    unknown = [name for name in tensors if name.split(".")[0] not in _TENSORS]
    if unknown:
        raise ValueError(f"unknown tensor {unknown[0]!r}")
    if (c.get(OPTIMIZE) is None) != (OPTIMIZE_GRAM not in tensors):
        raise ValueError(f"config {OPTIMIZE!r} and tensor {OPTIMIZE_GRAM!r} come together: one of them is missing")
    return c
