"""What the figures of ``benchmarks.recall`` say: who wins each cell, tables to read, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bebr.files import replacing

__all__ = ["AIMS", "Cell", "Figure", "draw", "markdown", "report"]

# On these sets, at these bytes: the share that bebr's misses may be of the misses of the best peer without training.
AIMS = {(name, size): share for name in ("wordnet", "debian") for size, share in ((52, 0.72), (100, 0.62), (196, 0.65))}
# "The next size up": a peer's sizes have gaps, so those up to a quarter larger count as the same size.
NEXT = 1.25


class Figure(Protocol):
    """The part of a measurement that is read here."""

    @property
    def dataset(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def budget(self) -> int: ...
    @property
    def size(self) -> float: ...
    @property
    def recall(self) -> float: ...
    @property
    def training_free(self) -> bool: ...


@dataclass(frozen=True)
class Cell:
    """One set at one budget; None where nothing was measured.

    best    the best peer of at most ``budget`` bytes
    free    the best peer without training of the next size up: ``size`` to 1.25 times that, or the least above it
    """

    dataset: str
    budget: int
    adc: Figure | None
    sdc: Figure | None
    best: Figure | None
    free: Figure | None

    @property
    def ratio(self) -> float | None:
        """Misses of ADC by those of ``free``; None where either is not there or ``free`` misses nothing."""
        if self.adc is None or self.free is None or self.free.recall == 1:
            return None
        return (1 - self.adc.recall) / (1 - self.free.recall)

    @property
    def losses(self) -> list[str]:
        """What is lost in this cell, in words."""
        lost = []
        if self.adc and self.best and self.adc.recall < self.best.recall:
            lost.append(f"ADC {self.adc.recall:.4f} is below {self.best.name}, {self.best.recall:.4f}")
        if self.ratio is not None and self.ratio > 1:
            lost.append(f"ADC misses {self.ratio:.2f} times what {self.free.name} does" if self.free else "")
        return lost

    @property
    def missed(self) -> bool:
        """Whether an aim was set for this cell and is not reached (ADC's share of misses, and SDC not below)."""
        aim = AIMS.get((self.dataset, self.budget))
        if aim is None or self.ratio is None or self.sdc is None or self.free is None:
            return False
        return self.ratio > aim or self.sdc.recall < self.free.recall


def report(rows: Sequence[Figure], names: Sequence[str], budgets: Sequence[int]) -> list[Cell]:
    """A cell for every set and budget, in that order."""
    return [_cell([row for row in rows if row.dataset == name], name, budget) for name in names for budget in budgets]


def _cell(rows: Sequence[Figure], name: str, budget: int) -> Cell:
    mine = {row.query: row for row in rows if row.system == "bebr" and row.budget == budget}
    others = [row for row in rows if row.system != "bebr"]
    size = mine["float"].size if "float" in mine else float(budget)
    larger = [row for row in others if row.training_free and row.size >= size]
    reach = max(NEXT * size, min((row.size for row in larger), default=0))
    best, free = (
        max(some, key=lambda row: (row.recall, -row.size), default=None)
        for some in ([row for row in others if row.size <= budget], [row for row in larger if row.size <= reach])
    )
    return Cell(name, budget, mine.get("float"), mine.get("code"), best, free)


def markdown(cells: Sequence[Cell], notes: Mapping[str, str]) -> str:
    """A table for each set, lost cells marked and named below; then what was left out."""
    lines = ["Recall@10. **✗**: a peer of no more bytes is better, or ADC misses more than the training-free peer."]
    for name in dict.fromkeys(cell.dataset for cell in cells):
        mine = [cell for cell in cells if cell.dataset == name]
        lines += ["", f"**{name}** ({notes.get(name, 'not measured')})", ""]
        lines += [
            "| bytes | ours | ADC | SDC | best peer of no more bytes | best training-free peer, next size up "
            "| ADC's misses by its | SDC less its |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(cell) for cell in mine]
        lost = [f"{cell.budget} bytes: {text}" for cell in mine for text in cell.losses]
        if lost:
            lines += ["", "Lost: " + "; ".join(lost) + "."]
        left = [f"{about.partition(', ')[2]} {text}" for about, text in notes.items() if about.startswith(f"{name}, ")]
        if left:
            lines += ["", "; ".join(left)]
    return "\n".join(lines) + "\n"


def _line(cell: Cell) -> str:
    ratio, aim = cell.ratio, AIMS.get((cell.dataset, cell.budget))
    share = "–" if ratio is None else f"{ratio:.2f}" + (f" (aim {aim})" if aim else "")
    ahead = f"{cell.sdc.recall - cell.free.recall:+.3f}" if cell.sdc and cell.free else "–"
    parts = [
        str(cell.budget),
        f"{cell.adc.size:g} B" if cell.adc else "–",
        ("**✗** " if cell.losses else "") + (f"{cell.adc.recall:.4f}" if cell.adc else "–"),
        f"{cell.sdc.recall:.4f}" if cell.sdc else "–",
        *(f"{peer.name} ({peer.size:g} B) {peer.recall:.4f}" if peer else "–" for peer in (cell.best, cell.free)),
        share,
        ahead,
    ]
    return "| " + " | ".join(parts) + " |"


def draw(path: Path, rows: Sequence[Figure], names: Sequence[str]) -> None:
    """Recall against bytes, one panel a set. Needs matplotlib, which is imported here alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    shown = [name for name in names if any(row.dataset == name for row in rows)]
    columns = min(4, max(1, len(shown)))
    picture = Picture(figsize=(4.2 * columns, 3.6 * -(-max(1, len(shown)) // columns)), dpi=130, layout="constrained")
    FigureCanvasAgg(picture)
    panels = picture.subplots(-(-max(1, len(shown)) // columns), columns, squeeze=False).ravel()
    for name, panel in zip(shown, panels, strict=False):
        mine = [row for row in rows if row.dataset == name]
        for free, label, marker, colour in (
            (True, "peers without training", "o", "#6b7280"),
            (False, "peers that learn", "^", "#b08968"),
        ):
            points = [row for row in mine if row.system != "bebr" and row.training_free == free]
            style = {"marker": marker, "color": colour, "alpha": 0.7, "linestyle": "none", "markersize": 4}
            panel.plot([row.size for row in points], [row.recall for row in points], label=label, **style)
        for query, label, colour in (("float", "bebr ADC", "#d1495b"), ("code", "bebr SDC", "#00798c")):
            line = sorted(
                (row for row in mine if row.system == "bebr" and row.query == query), key=lambda row: row.size
            )
            sizes, hits = [row.size for row in line], [row.recall for row in line]
            panel.plot(sizes, hits, label=label, color=colour, marker=".")
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.set_title(name, loc="left", fontsize=10)
        panel.grid(alpha=0.2)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    if shown:
        panels[0].legend(fontsize=7, loc="lower right")
    picture.supxlabel("bytes a vector, factors included", fontsize=9)
    picture.supylabel("recall@10 of the exact top 10", fontsize=9)
    with replacing(path) as temporary:
        picture.savefig(temporary, format=path.suffix.lstrip(".") or "png")
