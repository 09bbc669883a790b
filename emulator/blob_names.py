"""Blob names and the files that hold them: which names can be files, and listings in order."""

import os
from collections.abc import Iterator
from pathlib import Path

LONGEST_PART = 255
"""Bytes that file systems take between two slashes."""


def names_a_file(name: str) -> bool:
    """Whether a blob's name or prefix is a path that stays inside of its folder."""
    parts = name.split("/") if name else []
    return "\0" not in name and not any(part in ("", ".", "..") for part in parts)


def fits_a_file(name: str) -> bool:
    """Whether file systems take each part of a blob's name."""
    return all(len(os.fsencode(part)) <= LONGEST_PART for part in name.split("/"))


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: no address leads to another one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def walk(folder: Path, base: str, prefix: str, after: str, by_folder: bool) -> Iterator[str]:
    """Names in order, from `after` on, of the files below a folder whose own name is `base`.

    `by_folder`: a folder is named, with its closing slash, in place of what is below it, if
    there is a file below it at all.
    """
    try:
        found = [entry for entry in os.scandir(folder) if _is_text(entry.name)]
        entries = [(e, e.is_dir(follow_symlinks=False)) for e in found]
    except (FileNotFoundError, NotADirectoryError):
        return
    # With the slash a folder sorts where its blobs do: "a-b" before "a/b".
    named = {base + e.name + ("/" if is_folder else ""): (e, is_folder) for e, is_folder in entries}
    for name in sorted(named):
        entry, is_folder = named[name]
        if not name.startswith(prefix):
            continue
        if is_folder:
            # The last name below a folder is smaller than the folder's with '0' for '/'.
            if after and name[:-1] + "0" <= after:
                continue
            below = walk(Path(entry.path), name, prefix, "" if by_folder else after, False)
            if not by_folder:
                yield from below
            elif name >= after and next(below, None):
                yield name
        elif name >= after and entry.is_file():
            yield name
