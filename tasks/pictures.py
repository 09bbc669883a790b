"""Pictures for Prefect's UI: PNGs that travel inside their own address."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.values import MetricPoint, Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tasks.lengths import Lengths

_COLOURS = 64
_BLUE, _ORANGE, _GREEN = "#2f6df6", "#e2711d", "#2a9d5c"
_LOSSES = (("loss", "training loss", _BLUE), ("eval_loss", "evaluation loss", _ORANGE))
_BARS = 40
_CHARACTERS_A_TOKEN = 4
"""Of English text, roughly: lengths are in characters, since only the job counts tokens."""


def png(figure: "Figure") -> bytes:
    """The figure as a PNG of few colours: a tenth of the size, for lines and bars no loss."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def png_data_uri(figure: "Figure") -> str:
    """The figure as a `data:` URI, so that nothing has to serve it."""
    return data_uri(png(figure))


def data_uri(picture: bytes) -> str:
    """A PNG as a `data:` URI."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def loss_picture(metrics: Metrics, title: str) -> "Figure | None":
    """Training and evaluation loss over the steps, with their ends; None without any point."""
    curves = [
        (label, colour, points)
        for name, label, colour in _LOSSES
        if (points := metrics.curves.get(name))
    ]
    if not curves:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110)
    # Fixed: a layout that is computed takes longer than the drawing.
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.13, top=0.92)
    axes = figure.add_subplot()
    for label, colour, points in curves:
        _draw_curve(axes, label, colour, points)
    axes.set(xlabel="step", ylabel="loss")
    axes.ticklabel_format(useOffset=False)
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.1, y=0.12)
    _tidy(axes)
    axes.legend(frameon=False)
    return figure


def _draw_curve(axes: "Axes", label: str, colour: str, points: Sequence[MetricPoint]) -> None:
    steps, values = [point.step for point in points], [point.value for point in points]
    marker = "o" if len(points) <= 60 else ""
    axes.plot(steps, values, marker=marker, markersize=3, color=colour, label=label)
    ends = {0: (-6, 0, "right"), len(points) - 1: (6, 0, "left")}
    for index, (x, y, side) in ends.items():
        axes.annotate(
            f"{values[index]:.3g}",
            (steps[index], values[index]),
            xytext=(x, y),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=9,
            color=colour,
        )


def length_histogram(
    lengths: Sequence["Lengths"], max_tokens: int | None = None
) -> "Figure | None":
    """How long the conversations of each split are, in characters and in messages.

    `max_tokens`, where the training cuts a conversation off, is marked at four characters a token.
    None where there is no conversation.
    """
    filled = [split for split in lengths if split.characters]
    if not filled:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(9, 3.6), dpi=110)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.15, top=0.88, wspace=0.18)
    cut = max_tokens * _CHARACTERS_A_TOKEN if max_tokens else None
    most = max(split.quantile(0.99) for split in filled)
    width = max(1, -(-most // _BARS))
    messages = max(max(split.messages) for split in filled)
    for split, colour in zip(filled, (_BLUE, _ORANGE, _GREEN), strict=False):
        style = {"color": colour, "linewidth": 1.4, "label": split.label}
        shares = _shares([length // width for length in split.characters], _BARS)
        left.stairs(shares, [bar * width for bar in range(_BARS + 2)], **style)
        counts = _shares(split.messages, messages)
        right.stairs(counts, [number - 0.5 for number in range(messages + 2)], **style)
    if cut and cut <= width * (_BARS + 1):
        left.axvline(cut, color="#666666", linestyle="--", linewidth=1)
        left.annotate(
            f"max_seq_length {max_tokens:,}\nat about {_CHARACTERS_A_TOKEN} characters a token",
            (cut, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if cut > width * _BARS / 2 else 4, 0),
            textcoords="offset points",
            ha="right" if cut > width * _BARS / 2 else "left",
            va="top",
            fontsize=8,
            color="#444444",
        )
    left.set(xlabel="characters of a conversation (the last bar: that many or more)")
    left.set_ylabel("share of the conversations")
    right.set(xlabel="messages of a conversation")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylim(bottom=0)
        _tidy(axes)
    left.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(*left.get_legend_handles_labels(), loc="upper left", ncols=3, frameon=False)
    return figure


def _shares(values: Sequence[int], highest: int) -> list[float]:
    """The share of each value from 0 to `highest`; higher ones count as `highest`."""
    counts = [0] * (highest + 1)
    for value in values:
        counts[min(value, highest)] += 1
    return [count / len(values) for count in counts]


def _tidy(axes: "Axes") -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
