"""A model as the bytes of a safetensors file: its tensors, and its config in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bebr.arrays import Floats
from bebr.errors import CorruptFile


def digest_of(data: bytes) -> str:
    """16 hex digits that identify a model: SHA-256 of its file."""
    import hashlib  # brings OpenSSL: 6 of the 50 ms that `import bebr` takes beside numpy

    return hashlib.sha256(data).hexdigest()[:16]


def written(tensors: Mapping[str, Floats], config: Mapping[str, Any]) -> bytes:
    """The file."""
    from safetensors.numpy import save

    return bytes(save(dict(tensors), metadata={"bebr": json.dumps(config, sort_keys=True)}))


def read(data: bytes, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and config of a file; ``CorruptFile`` names ``source``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, json.loads(header.get("__metadata__", {})["bebr"])
    except (SafetensorError, ValueError, KeyError) as e:
        raise CorruptFile(f"{source}: not a bebr binarizer ({e})") from e
