"""The trade-off as one HTML file: curves that answer to a pointer, the recommendation, and all figures as a table.

The file asks for nothing: styles, script and data are inside, and its policy forbids every request. All words are
escaped; the script makes elements of text alone. Without JavaScript the table and the recommendation are there still.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from bebr.files import write_atomically
from bebr.tradeoff.files import document
from bebr.tradeoff.row import Row
from bebr.tradeoff.series import series

_FILES = resources.files("bebr.tradeoff") / "static"
# Colours of the page's style: one for each recipe of bebr and the last for others, and so for the libraries of peers.
_RECIPES = ("ragged", "1 plane", "2 planes", "4 planes")
_LIBRARIES = 6


def to_html(rows: Sequence[Row], **facts: Any) -> str:
    """The page. facts and target_recall as in :func:`document`; what is not known is not shown."""
    data = document(rows, **facts)
    data |= {"names": [row.name for row in rows], "series": _series(rows)}
    script = _file("page.js")
    return Template(_file("page.html")).substitute(
        hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=escape(_title(data)),
        subtitle=escape(_subtitle(data)),
        css=_file("page.css"),
        sentence=escape(data["recommended"]["sentence"]),
        peers=escape(_peers(rows, data)),
        rule=escape(data["recommended"]["rule"]),
        train=escape(_train(data)),
        table=_table(rows, data["recommended"]["row"]),
        k=rows[0].k,
        asked=escape(_asked(data)),
        facts=_facts(data, rows),
        left_out=_left_out(data.get("left_out", ())),
        # "<" ends neither the script nor opens a comment in it
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        script=script,
    )


def write_html(path: str | Path, rows: Sequence[Row], **facts: Any) -> None:
    """Write :func:`to_html` of the same arguments, whole or not at all."""
    write_atomically(Path(path), to_html(rows, **facts).encode())


def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _series(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every curve: its colour and mark, and the places of its points and of those that its line joins."""
    place = {id(row): number for number, row in enumerate(rows)}
    libraries = sorted({row.system for row in rows} - {"bebr"})
    found: list[dict[str, Any]] = []
    for one in sorted(series(rows), key=lambda one: one.system != "bebr"):
        first, peer = one.rows[0], one.system != "bebr"
        recipe = _RECIPES.index(first.recipe) if first.recipe in _RECIPES else len(_RECIPES)
        found.append(
            {
                "label": one.label,
                "peer": peer,
                "lead": first.recipe == "ragged" and not peer,
                "sdc": first.query == "code",
                "colour": f"p{libraries.index(one.system) % _LIBRARIES}" if peer else f"o{recipe}",
                "mark": sum(other["peer"] for other in found),
                "points": [place[id(row)] for row in one.rows],
                "line": [place[id(row)] for row in one.line],
            }
        )
    return found


def _title(data: dict[str, Any]) -> str:
    return f"Trade-off of {Path(data['vectors']).name}" if "vectors" in data else "Trade-off"


def _subtitle(data: dict[str, Any]) -> str:
    known = []
    if "n" in data:
        known.append(f"{data['n']:,} vectors" + (f" of {data['d']:,} dims" if "d" in data else ""))
    known += [data[name] for name in ("metric",) if name in data]
    if "queries" in data:
        known.append(f"{data['queries']:,} queries{', held out' if data.get('held_out') else ''}")
    return " · ".join([*known, f"recall@{data['rows'][0]['k']} against exact search"])


def _asked(data: dict[str, Any]) -> str:
    if "queries" not in data:
        return ""
    held = ", which are in neither training nor index" if data.get("held_out") else ""
    return f", over {data['queries']:,} queries{held}"


def _peers(rows: Sequence[Row], data: dict[str, Any]) -> str:
    if all(row.system == "bebr" for row in rows):
        return "No other engine was measured; bebr tradeoff --peers measures those that are installed."
    ahead = [rows[number] for number in data["recommended"]["ahead"]]
    if not ahead:
        return "No other engine measured here recalls as much in as few bytes."
    named = "; ".join(
        f"{row.name} ({row.bytes_per_vector:g} bytes: {row.recall:.3f} at {row.queries_per_second:,.0f} queries a "
        "second)"
        for row in ahead
    )
    return f"As much recall in as few bytes: {named}."


def _train(data: dict[str, Any]) -> str:
    arguments, metric = data["recommended"]["train"], data.get("metric", "cosine")
    named = ", ".join(f"{name}={value!r}" for name, value in {**arguments, "metric": metric}.items())
    planes = ",".join(map(str, arguments.get("widths", ())))
    size = f"--widths {planes}" if planes else f"--bytes {arguments['bytes_per_vector']}"
    return f"bebr.train(x, {named})\nbebr train VECTORS -o model.safetensors {size} --metric {metric}"


def _table(rows: Sequence[Row], chosen: int) -> str:
    names = (
        *("setting", "bytes", f"recall@{rows[0].k}", "planned", "memory", "queries/s", "ms", "encode/s", "train s"),
        "planes",
    )
    classes = {"memory": ' class="memory"', "planes": ' class="shape"'}
    head = "".join(f'<th scope="col"{classes.get(name, "")}>{escape(name)}</th>' for name in names)
    order = sorted(
        range(len(rows)), key=lambda i: (rows[i].system != "bebr", rows[i].bytes_per_vector, -rows[i].recall)
    )
    lines = "\n".join(_line(rows[i], i, i == chosen) for i in order)
    return f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>"


def _line(row: Row, number: int, chosen: bool) -> str:
    planned = "" if row.predicted is None else f"{row.predicted:.3f} ± {row.predicted_error:.3f}"
    mark = ' class="chosen"' if chosen else ""
    return (
        f'<tr data-row="{number}"{mark}>'
        f'<th scope="row">{escape(row.name)}{" (recommended)" if chosen else ""}</th>'
        f"<td>{row.bytes_per_vector:g}</td><td>{row.recall:.3f} ± {row.recall_error:.3f}</td><td>{planned}</td>"
        f'<td class="memory" data-memory="{number}"></td>'
        f"<td>{row.queries_per_second:,.0f}</td><td>{row.latency_ms:.3f}</td>"
        f"<td>{row.encode_per_second:,.0f}</td><td>{row.train_seconds:.1f}</td>"
        f'<td class="shape">{escape(row.shape)}</td></tr>'
    )


def _facts(data: dict[str, Any], rows: Sequence[Row]) -> str:
    versions = {"bebr": data["version"], "Python": data["python"], "numpy": data["numpy"], **data.get("libraries", {})}
    threads = rows[0].threads
    facts = {
        "Vectors": data.get("vectors"),
        "Machine": f"{data['cpu']}, instruction set {data['isa']}",
        "Threads": f"{threads} of encoding and search; training takes what it likes",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Recall": "against exact float32 search of the same vectors",
        "Seed": data.get("seed"),
        "Date": data["date"],
    }
    known = [f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value is not None]
    if "command" in data:
        known.insert(0, f"<dt>Command</dt><dd><code>{escape(data['command'])}</code></dd>")
    return "\n".join(known)


def _left_out(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<p>Left out:</p>\n<ul>{items}</ul>" if items else ""
