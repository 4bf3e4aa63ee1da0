"""bebr/_core.pyi and _front.pyi are kept by hand, for pybind11-stubgen loses the dtypes of arrays and what tuples hold.
So they have to agree with what pybind11 says of the extensions: names, arguments and their defaults."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import bebr
from bebr import _core


def _stub(name: str) -> list[ast.stmt]:
    return ast.parse((Path(bebr.__file__).parent / f"{name}.pyi").read_text()).body


def _arguments(function: ast.stmt) -> str:
    """Those of a function, without their types."""
    assert isinstance(function, ast.FunctionDef)
    for one in ast.walk(function.args):
        if isinstance(one, ast.arg):
            one.annotation = None
    return ast.unparse(function.args)


def _bound(function: Any) -> str:
    """The same from the signature that begins the docstring of a function of the extension."""
    signature = re.sub(r"\w+::\w+", "Any", function.__doc__.splitlines()[0])
    return _arguments(ast.parse(f"def {signature}: ...").body[0])


def _differences(body: list[ast.stmt], bound: Any, where: str) -> list[str]:
    """Between what the stub says and ``bound``, the module or a class of it."""
    stub = {one.name: one for one in body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    stub |= {ast.unparse(one.target): one for one in body if isinstance(one, ast.AnnAssign)}
    public = {name for name in vars(bound) if not name.startswith("_") or name in stub}
    wrong = [f"{where}{name} is in the stub or the extension only" for name in public ^ set(stub)]
    for name in public & set(stub):
        one, value = stub[name], getattr(bound, name)
        if isinstance(one, ast.ClassDef):
            wrong += _differences(one.body, value, f"{name}.")
        elif callable(value) and (says := _arguments(one)) != (has := _bound(value)):
            wrong.append(f"{where}{name}: the stub says ({says}), the extension has ({has})")
    return wrong


def test_the_stub_says_what_the_extension_has() -> None:
    assert not _differences(_stub("_core"), _core, "")


def test_the_stub_of_the_front_says_what_it_has() -> None:
    front = pytest.importorskip("bebr._front", reason="built without libnghttp2")
    assert not _differences(_stub("_front"), front, "")
