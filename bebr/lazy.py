"""Properties that are worked out once, when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy_property(Generic[T]):
    """As functools.cached_property, without its lock, which up to Python 3.11 all instances of a class share: while a
    background thread read the words of one collection, searches of others by words waited, and a fork in the meantime
    waited for ever. Threads that ask at once may work it out twice; all get the first result."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy_property[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> lazy_property[T] | T:
        if instance is None:
            return self
        # Once it is there, Python finds it without coming here.
        found: T = instance.__dict__.setdefault(self._name, self._work_out(instance))
        return found
