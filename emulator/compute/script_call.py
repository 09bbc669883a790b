"""Reading a shell's line that does nothing but start a Python script."""

import re

_PIECE = re.compile(
    r"""
      (?P<blank>[ \t]+)
    | (?P<joined>\\\n)
    | '(?P<single>[^']*)'
    | "(?P<double>[^"$`\\!]*)"
    | \\(?P<escaped>[^\n])
    | (?P<plain>[^\s'"\\;&|<>`$()*?~\#!{}\[\]]+)
    """,
    re.VERBOSE,
)
"""What a line may consist of: nothing that a shell expands, redirects or runs."""


def python_call(command: str) -> tuple[str, list[str]] | None:
    """Script and arguments of a line `python script.py ...`; None for anything else."""
    words = _words(command)
    if not words or len(words) < 2 or words[0] != "python" or not words[1].endswith(".py"):
        return None
    return words[1], words[2:]


def _words(command: str) -> list[str] | None:
    """The words of a simple command, as a POSIX shell reads them; None for any other line."""
    line = command.strip("\n \t") if not command.rstrip("\n \t").endswith("\\") else command
    words: list[str] = []
    word: str | None = None
    place = 0
    while place < len(line):
        piece = _PIECE.match(line, place)
        if piece is None:
            return None
        place = piece.end()
        if piece.lastgroup == "blank":
            words += [word] if word is not None else []
            word = None
        elif piece.lastgroup != "joined":
            word = (word or "") + piece[str(piece.lastgroup)]
    return [*words, word] if word is not None else words
