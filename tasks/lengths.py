"""How long the conversations of the data are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from tasks.artifacts import run_logger
from tasks.markdown import markdown_table
from tasks.pictures import length_histogram, png_data_uri
from tasks.plan import split_files
from tasks.rows import MESSAGES
from tasks.values import Plan, SplitFile

_MOST_ROWS = 10_000
"""Conversations that are looked at: a histogram of more looks the same and takes seconds."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of conversations of one split, one entry a conversation."""

    split: str
    rows: int
    """Conversations that the split has, of which the first ones are looked at."""
    characters: list[int]
    messages: list[int]

    @property
    def label(self) -> str:
        """The split, and how many of its conversations count here."""
        seen = len(self.characters)
        return f"{self.split} ({seen:,})" if seen >= self.rows else f"{self.split} (first {seen:,})"

    def quantile(self, share: float) -> int:
        """The length in characters that `share` of the conversations do not exceed."""
        ordered = sorted(self.characters)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def read_lengths(file: SplitFile, most: int = _MOST_ROWS) -> Lengths:
    """The lengths of the first `most` conversations, read line by line. Raises OSError."""
    characters, messages = [], []
    with open(file.path, encoding="utf-8") as lines:
        for line in islice(lines, most):
            conversation = json.loads(line)[MESSAGES]
            characters.append(sum(len(message["content"]) for message in conversation))
            messages.append(len(conversation))
    return Lengths(file.split, file.rows, characters, messages)


def lengths_markdown(lengths: Sequence[Lengths], max_tokens: int | None = None) -> str | None:
    """A histogram and the figures behind it; None where there is no conversation."""
    figure = length_histogram(lengths, max_tokens)
    if figure is None:
        return None
    rows = [
        (
            split.split,
            f"{len(split.characters):,} of {split.rows:,}",
            f"{split.quantile(0.5):,}",
            f"{split.quantile(0.9):,}",
            f"{max(split.characters):,}",
            f"{sum(split.messages) / len(split.messages):.1f}",
        )
        for split in lengths
        if split.characters
    ]
    heads = ("split", "conversations", "median", "90 % are up to", "longest", "messages each")
    return "\n\n".join(
        [
            f"![Lengths of the conversations]({png_data_uri(figure)})",
            markdown_table(heads, rows),
            "Lengths are in characters. Tokens are not counted here: four characters a token is "
            "usual for English, fewer for other languages and for code.",
        ]
    )


def data_lengths(plan: Plan) -> str | None:
    """The same for the data of a plan; None also where they cannot be read: it is an extra."""
    limits = [p.value for p in plan.parameters if p.name == "max_seq_length"]
    most = limits[0] if limits and isinstance(limits[0], int) and limits[0] > 0 else None
    try:
        return lengths_markdown([read_lengths(file) for file in split_files(plan.data)], most)
    except (OSError, ValueError, LookupError, TypeError, ImportError) as error:
        run_logger().warning("The lengths of the conversations cannot be shown: %s", error)
        return None
