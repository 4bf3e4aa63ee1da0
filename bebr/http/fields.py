"""What a request may hold: one table a route, by which bodies are checked and the OpenAPI page is written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["boolean", "integer", "number", "string", "array", "object"]

# What is refused here is what the checks of bebr.collection take for granted; the rest is theirs, in their words.
_TYPES: dict[Kind, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "string": (str,),
    "array": (list,),
}


@dataclass(frozen=True)
class Field:
    """``kinds``: what JSON it may be. ``default``: what holds where it is not given, or null. ``null``: null is a value
    of its own."""

    kinds: tuple[Kind, ...]
    text: str
    default: Any = None
    required: bool = False
    null: bool = False
    choices: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """As JSON Schema of OpenAPI 3.1."""
        types = [*self.kinds, *(["null"] if self.null else [])]
        made: dict[str, Any] = {"type": types[0] if len(types) == 1 else types, "description": self.text}
        if "array" in self.kinds:
            made["items"] = {}
        if self.choices:
            made["enum"] = [*self.choices, *([None] if self.null else [])]
        if self.default is not None:
            made["default"] = self.default
        return made


def field(kinds: str, text: str, default: Any = None, **more: Any) -> Field:
    """``kinds`` with spaces between."""
    return Field(tuple(kinds.split()), text, default, **more)  # type: ignore[arg-type]


def check_body(body: object, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The value of each field. ``ValueError`` names a field that is unknown, missing or of another kind."""
    if not isinstance(body, dict):
        raise ValueError(f"the body is {_shown(body)}: want a JSON object")
    for name in body:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
            wanted = f"did you mean {near[0]}?" if near else f"want {', '.join(fields) or 'no fields'}"
            raise ValueError(f"{_shown(name)} is no field of this call: {wanted}")
    return {name: _checked(name, one, body) for name, one in fields.items()}


def _checked(name: str, one: Field, body: Mapping[str, Any]) -> Any:
    if name not in body:
        if one.required:
            raise ValueError(f"{name} is missing: {one.text}")
        return one.default
    value = body[name]
    if value is None and (one.null or not one.required):
        return None if one.null else one.default
    wanted = [kind for kind in _TYPES if kind in one.kinds]
    if len(wanted) == len(one.kinds) and not any(_is(value, kind) for kind in wanted):
        article = " or ".join(f"an {kind}" if kind[0] in "aio" else f"a {kind}" for kind in wanted)
        raise ValueError(f"{name} is {_shown(value)}: want {article}")
    return value


def _is(value: object, kind: Kind) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
