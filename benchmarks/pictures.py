"""How cost grows, as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _GREY = "#2f6df6", "#999999"

Panel = tuple[str, str]
"""The figure's key and what is written above it."""

GROWTHS: Mapping[str, tuple[str, str, str, Sequence[Panel]]] = {
    "data_path": (
        "growth",
        "rows_of_dataset",
        "Hub to JSON Lines: rows of the dataset",
        (
            ("seconds", "seconds"),
            ("peak_megabytes", "peak memory, MB"),
            ("megabytes_fetched", "fetched, MB"),
        ),
    ),
    "waiting": (
        "waits",
        "jobs",
        "Waiting: jobs awaited by one process",
        (
            ("core_percent", "percent of one core"),
            ("megabytes", "memory, MB"),
            ("requests_a_minute", "requests a minute"),
        ),
    ),
    "configurations": (
        "configurations",
        "configurations",
        "A comparison: its configurations",
        (
            ("processor_seconds", "processor seconds of the flow"),
            ("megabytes", "peak memory, MB"),
            ("requests", "requests"),
        ),
    ),
}
"""By benchmark: the key of its rows, of what grows, a title, and its panels."""


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """A picture of each growth that was measured at two points or more; gives the files."""
    from matplotlib.figure import Figure

    drawn = []
    for part, (key, count, title, panels) in GROWTHS.items():
        rows = sorted((results.get(part) or {}).get(key) or [], key=lambda row: row[count])
        if len(rows) < 2:
            continue
        figure = Figure(figsize=(11, 3.4), dpi=110)
        figure.suptitle(title, fontsize=11)
        figure.subplots_adjust(left=0.06, right=0.98, bottom=0.14, top=0.8, wspace=0.25)
        for axes, (name, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            _panel(axes, [row[count] for row in rows], [row[name] for row in rows], label)
        figure.axes[0].legend(frameon=False, fontsize=8, loc="upper left")
        drawn.append(folder / f"{part}.png")
        figure.savefig(drawn[-1])
    return drawn


def _panel(axes: "Axes", counts: Sequence[float], values: Sequence[float], label: str) -> None:
    axes.set_title(label, fontsize=10)
    axes.set_xscale("log")
    steepest = values[-1] / counts[-1]
    linear = [steepest * count for count in counts]
    axes.plot(counts, linear, color=_GREY, linestyle="--", linewidth=1, label="in proportion")
    axes.plot(counts, values, color=_BLUE, marker="o", markersize=4)
    axes.set_ylim(0, max(*values, *linear) * 1.18 or 1)
    axes.set_xticks(list(counts), [f"{count:,}" for count in counts], fontsize=8)
    axes.minorticks_off()
    axes.tick_params(axis="y", labelsize=8)
    for count, value in zip(counts, values, strict=True):
        axes.annotate(
            f"{value:,.4g}",
            (count, value),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.margins(x=0.12)
