"""An extension of griffe: docstrings of bebr as Markdown.

bebr's docstrings name an argument at the start of a line, ``x: float32[n, d]``, or in columns, and go on
below it, indented. These become a list. References in the way of Sphinx become links where the site has what they name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from griffe import Extension, Module, Object, Parameter, ParameterKind

_ARGUMENT = re.compile(r"^((?:[*`]{0,2}[a-z]\w*`{0,2})(?:(?:,| and| or) [*`]{0,2}[a-z]\w*`{0,2})*)(?:: | {2,})(?=\S)")
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([\w.]+)`")


def _lines(text: str) -> Iterator[str]:
    inside = False  # an argument
    code = False  # an example of >>>
    for line in text.splitlines():
        start = _ARGUMENT.match(line)
        if line.startswith(">>>") and not code:
            yield "\n```pycon"
            code = True
        elif code and not line:
            yield "```"
            code = False
        if code:
            yield line
        elif start:
            if not inside:
                yield ""
            inside = True
            named = start[1].replace("`", "").replace("*", "\\*")
            yield f"* **{named}**: {line[start.end() :]}"
        elif inside and line and not line[0].isspace():
            inside = False
            yield f"\n{line}"
        else:
            yield line if line.strip() else ""
    if code:
        yield "```"


def as_markdown(docstring: str) -> str:
    """A docstring of bebr as Markdown."""
    text = "\n".join(_lines(inspect.cleandoc(docstring)))
    return _ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', text)


class Docstrings(Extension):
    """Applied to each object as griffe reads it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """`bebr.build` takes its options under one name: the site has each of them, as help() has."""
        build = pkg["bulk.build"]
        del build.parameters["options"]
        for one in pkg["bulk.options.Options"].attributes.values():
            if "property" not in one.labels:
                about = {"annotation": one.annotation, "default": one.value, "kind": ParameterKind.keyword_only}
                build.parameters.add(Parameter(one.name, **about))
        build.overloads = None
