"""The folders of csrc/ are layers (docs/architecture.md): a file includes headers of its own folder and of those below
it. The arrows of Python are import-linter's, in pyproject.toml."""

import re
from pathlib import Path

CSRC = Path(__file__).parent.parent / "csrc"
BELOW = {
    "base": set(),
    "code": {"base"},
    "kernels": {"base", "code"},
    "binarizer": {"base", "code", "kernels"},
    "index": {"base", "code", "kernels"},
    "cuda": {"base", "code", "kernels", "binarizer", "index"},
    "collection": {"base", "code", "kernels", "binarizer", "index"},
    "payload": {"base"},
    "messages": set(),
    "client": set(),
    "server": {"base", "collection", "messages"},
    "bind": {
        *("base", "code", "kernels", "binarizer", "index", "collection", "payload", "messages", "client", "server"),
        "cuda",
    },
    "bench": {"base", "code", "kernels"},
}


def test_files_include_their_own_layer_and_those_below() -> None:
    sources = [path for path in CSRC.rglob("*") if path.suffix in (".h", ".cpp", ".cu")]
    assert {path.relative_to(CSRC).parts[0] for path in sources} == set(BELOW)
    upwards = [
        f"{path.relative_to(CSRC)} includes {layer}/"
        for path in sources
        for own in [path.relative_to(CSRC).parts[0]]
        for layer in re.findall(r'^\s*#\s*include\s*"(\w+)/', path.read_text(), re.MULTILINE)
        if layer != own and layer not in BELOW[own]
    ]
    assert not upwards
