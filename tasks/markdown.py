"""Markdown that reads well in both of Prefect's UIs."""

import html
import textwrap
from collections.abc import Sequence

_WIDE = 64


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells may hold Markdown, but no line breaks other than `<br>`."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain_cell(text: str) -> str:
    """Any text as it stands, for a cell."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def wrapped_cell(text: str, width: int = 44) -> str:
    """A long text for a cell, in lines of `width` characters: the first UI cuts longer ones off."""
    lines = (
        line for part in text.strip().splitlines() for line in (textwrap.wrap(part, width) or [""])
    )
    return "<br>".join(plain_cell(line) for line in lines)


def summary_table(rows: Sequence[tuple[str, str]]) -> str:
    """What a run did, as (label, text), in a table."""
    return markdown_table(
        ("what", "this run"),
        [(plain_cell(label), wrapped_cell(text, _WIDE)) for label, text in rows],
    )
