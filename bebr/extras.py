"""Parts of bebr that need more than its base: without it, their errors name the extra that installs what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Around the imports that ``what`` needs. ``ModuleNotFoundError`` says which module is missing and how to install
    ``extra``, or what a library that imports others by need says of it, as fsspec does."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "bebr":  # said already, or our own fault
            raise
        raise ModuleNotFoundError(f"{what} needs {error.name}: pip install 'bebr[{extra}]'") from error
    except ImportError as error:
        if error.name is not None:  # an import that broke
            raise
        raise ModuleNotFoundError(f"{what}: {error}") from error
