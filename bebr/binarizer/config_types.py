"""The types of a binarizer's config. A model file may come from anywhere; what it says is checked before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Value:
    wanted: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class _Fields:
    """An object with these keys; those in ``optional`` may be missing. Others are passed over."""

    fields: Mapping[str, _Rule]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Each:
    """An object whose values, whatever their keys, obey ``rule``."""

    rule: _Rule


_Rule = _Value | _Fields | _Each


def _whole(least: int, most: int) -> _Value:
    return _Value(f"a whole number from {least} to {most}", lambda v: type(v) is int and least <= v <= most)


def _finite(value: Any, most: float = 1e18) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < most  # false for NaN


def _square(value: Any) -> bool:
    """Whether a float32 may hold it as a squared length, whatever the unit of vectors, or as its inverse."""
    return _finite(value, 1e36)


_NUMBER = _Value("a finite number", _finite)
_DIM = _whole(1, 1 << 20)
_COUNT = _whole(1, 1 << 48)
_TEXT = _Value("a text", lambda v: isinstance(v, str))
_LINE = _Value("two finite numbers", lambda v: isinstance(v, list) and len(v) == 2 and all(map(_finite, v)))
_ADAPTER = _Fields({"skip": _NUMBER}, optional=("skip",))

# factor_code and stage_factor_code: ByteCode checks them.
_RULES: dict[str, _Rule] = {
    "format": _COUNT,
    "architecture": _TEXT,
    "metric": _TEXT,
    "factor": _TEXT,
    "input_dim": _DIM,
    "query_dim": _DIM,
    "widths": _Value(
        "a list of whole numbers above 0",
        lambda v: isinstance(v, list | tuple) and len(v) > 0 and all(_DIM.fits(width) for width in v),
    ),
    "factor_bytes": _whole(1, 4),
    "factor_scale": _Value("a finite number other than 0", lambda v: _square(v) and v != 0),
    "factor_offset": _Value("a finite number", _square),
    "stage_factor": _Value("true or false", lambda v: isinstance(v, bool)),
    "margin": _NUMBER,
    "survivors": _Fields({"rows": _COUNT, "of": _COUNT}),
    "refine": _Fields({"sweeps": _whole(0, 10_000), "tries": _whole(0, 10_000)}, optional=("tries",)),
    "front": _ADAPTER,
    "query_front": _ADAPTER,
    "compatible": _Each(
        _Fields(
            {"inner_dim": _DIM, "input_dim": _DIM, "calibration": _Fields({"float": _LINE, "code": _LINE})},
            optional=("input_dim",),
        )
    ),
}
# null means the same as a missing key.
_MAYBE_NULL = ("refine", "front", "query_front", "compatible")


def check_types(config: Mapping[str, Any]) -> None:
    """``ValueError`` names the first key whose value is not of its type. Keys that are unknown are passed over."""
    for key, rule in _RULES.items():
        if key in config and not (config[key] is None and key in _MAYBE_NULL):
            _check(config[key], rule, key)


def _check(value: Any, rule: _Rule, name: str) -> None:
    if isinstance(rule, _Value):
        if not rule.fits(value):
            raise ValueError(f"{name} is {_short(value)}: want {rule.wanted}")
        return
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_short(value)}: want an object")
    if isinstance(rule, _Each):
        for key, one in value.items():
            _check(one, rule.rule, f"{name}.{key}")
        return
    for key, field in rule.fields.items():
        if key in value:
            _check(value[key], field, f"{name}.{key}")
        elif key not in rule.optional:
            raise ValueError(f"{name} has no {key!r}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
