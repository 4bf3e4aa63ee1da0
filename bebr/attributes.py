"""Objects that refuse attributes they do not have: a misspelt setting would otherwise be one that does nothing."""

from __future__ import annotations

from functools import cached_property


class KnownAttributes:
    """A public attribute can be set if it is a property of the class that has a setter; private ones are the class's
    own business."""

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            _check(type(self), name)
        super().__setattr__(name, value)


def _check(kind: type, name: str) -> None:
    found = {n: getattr(kind, n) for n in dir(kind) if not n.startswith("_")}
    names = [n for n, value in found.items() if isinstance(value, property | cached_property)]
    settable = [n for n in names if getattr(found[n], "fset", None) is not None]
    if name in settable:
        return
    can = f"{' and '.join(settable) or 'none'} can be set"
    if name in found:
        raise AttributeError(f"attribute {name!r} of {kind.__name__} cannot be set; {can}")
    raise AttributeError(f"{kind.__name__} has no attribute {name!r}: it has {', '.join(names)}; {can}")
