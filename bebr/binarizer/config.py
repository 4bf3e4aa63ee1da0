"""The configuration of a binarizer: its fields, their checks, and what follows from them without a tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

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


class ModelConfig:
    """The half of :class:`bebr.Binarizer` that its config tells."""

    def __init__(self, config: Mapping[str, Any], tensors: Collection[str]) -> None:
        """tensors: the names of the tensors beside it. ``ValueError`` names the key or the tensor at fault."""
        self._config = _checked(dict(config), tensors)

    @property
    def input_dim(self) -> int:
        """d, the dimensions of the vectors it takes."""
        return int(self._config["input_dim"])

    @property
    def query_dim(self) -> int:
        """Dimensions of a query; ``input_dim`` unless queries have an input adapter of their own."""
        return int(self._config.get("query_dim", self.input_dim))

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each plane, in bits; the sum is the bits of a code."""
        return tuple(self._config["widths"])

    @property
    def dims(self) -> int:
        """m, the dimensions of a code: the width of the sign plane."""
        return self.widths[0]

    @property
    def metric(self) -> str:
        """``"cosine"``, ``"ip"`` or ``"l2"``."""
        return str(self._config["metric"])

    @property
    def architecture(self) -> str:
        """``"linear"`` or ``"recurrent"``, the paper's network (arXiv 2302.08714)."""
        return str(self._config["architecture"])

    @property
    def factor(self) -> str:
        """How the stored factor enters a score: ``"mul"``, ``"sub"`` or ``"none"``."""
        return str(self._config["factor"])

    @property
    def stage_factor(self) -> bool:
        """Whether a second factor, for the sign plane alone, is stored."""
        return bool(self._config["stage_factor"])

    @property
    def factor_count(self) -> int:
        """Factors stored beside a code."""
        return int(self.factor != "none") + int(self.stage_factor)

    @property
    def factor_bytes(self) -> int:
        """Bytes of each factor: 1, 2 (fp16) or 4 (float32)."""
        return int(self._config.get("factor_bytes", 2))

    def byte_code(self, key: Literal["factor_code", "stage_factor_code"]) -> ByteCode | None:
        """What a one-byte factor, or the stage's, encodes; None without such a factor."""
        return ByteCode.of(self._config[key], key) if key in self._config else None

    @property
    def code_bytes(self) -> int:
        """Bytes of the planes of one vector."""
        return sum(self.widths) // 8

    @property
    def bytes_per_vector(self) -> int:
        """Bytes stored for one vector, factors included, ids not."""
        return self.code_bytes + self.factor_bytes * self.factor_count

    @property
    def margin(self) -> float:
        """How many standard deviations an IVF search adds to a sign plane's score before it rules a row out; measured
        at training."""
        return float(self._config.get("margin", _MARGIN))

    def first_stage_rows(self, rows: int) -> int:
        """How many of ``rows`` the default search completes over all planes after the first stage.

        Training measures it on one size. Between 8,000 and 116,000 MiniLM vectors it grew as n^0.2 to n^0.35 (52 to
        196 bytes).
        """
        measured = self._config[FIRST_STAGE_ROWS]
        growth = float(max(rows / int(measured["of"]), 1.0) ** 0.35)
        return math.ceil(1.25 * growth * int(measured["rows"]))

    @property
    def config(self) -> dict[str, Any]:
        """A copy of the config that the file carries."""
        return json.loads(json.dumps(self._config))  # type: ignore[no-any-return]


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
