"""bebr info: what this build is, or what a file or folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.counts import counted

if TYPE_CHECKING:
    from bebr.binarizer import Binarizer


def run(
    path: Annotated[
        Path | None,
        typer.Argument(help="A model, an index, a data folder or a file of vectors.", show_default=False),
    ] = None,
) -> None:
    """Print the version, ISA and threads of this build, or the facts of a model, index, data folder or vector file."""
    if path is None:
        import bebr
        from bebr.vectors import READABLE

        facts = {**bebr.info(), "vector_files": READABLE}
    else:
        facts = _facts(path)
    show(facts)


def show(facts: dict[str, Any]) -> None:
    """Print facts, one a line."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in facts.items():
        table.add_row(key.replace("_", " "), _text(value))
    Console(soft_wrap=True).print(table, markup=False, highlight=False)


def _facts(path: Path) -> dict[str, Any]:
    import bebr
    from bebr.vectors import READABLE, read_vectors

    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        return _folder_facts(path)
    if path.suffix == ".safetensors":
        return {"kind": "model", "path": path, **_model_facts(bebr.Binarizer.load(path))}
    if path.suffix == ".bebr":
        index = bebr.open_index(path)
        size = path.stat().st_size
        facts = {"kind": "index", "path": path, "vectors": len(index), "file_bytes": size}
        return {**facts, **_model_facts(index.binarizer)}
    if path.suffix in READABLE:
        rows, dims = read_vectors(path).shape
        return {"kind": "vectors", "path": path, "vectors": rows, "dims": dims, "file_bytes": path.stat().st_size}
    wanted = ", ".join((".safetensors", ".bebr", *READABLE))
    raise ValueError(f"{path}: got suffix '{path.suffix}', wanted {wanted} or a folder")


def _folder_facts(path: Path) -> dict[str, Any]:
    import bebr

    if not (path / "catalog.db").is_file():  # opening would make a database of any folder
        raise ValueError(f"{path}: got a folder without catalog.db, wanted a data folder of bebr")
    with bebr.open(path) as db:
        facts: dict[str, Any] = {"kind": "data folder", "path": path, "models": len(db.models())}
        for name in db.collections():
            stats = db.collection(name).stats()
            facts[f"collection {name}"] = (
                f"{counted(stats.rows, 'row')}, {counted(stats.segments, 'segment')}, "
                f"{counted(stats.tail_rows, 'row')} in the tail, {stats.bytes_on_disk:,} bytes, "
                f"model {stats.model.digest}"
            )
    return facts


def _model_facts(bz: Binarizer) -> dict[str, Any]:
    return {
        "model": bz.digest,
        "architecture": bz.architecture,
        "metric": bz.metric,
        "input_dim": bz.input_dim,
        "widths": bz.widths,
        "bytes_per_vector": bz.bytes_per_vector,
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return str(value)
