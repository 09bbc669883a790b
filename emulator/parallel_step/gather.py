"""Puts what the iterations of a parallel_for node wrote into one output; standard library only.

`gather.py table TO LABEL PATH ...` copies each path below TO, under its label, and names all of
them in an MLTable file. `gather.py values TO LABEL VALUE ...` writes the values as a JSON list.
"""

import json
import shutil
import sys
from pathlib import Path


def table(to: Path, parts: dict[str, str]) -> None:
    to.mkdir(parents=True, exist_ok=True)
    lines = ["type: mltable", "paths:" if parts else "paths: []"]
    for label, source in parts.items():
        kind = "folder" if Path(source).is_dir() else "file"
        if kind == "folder":
            shutil.copytree(source, to / label, dirs_exist_ok=True)
        else:
            shutil.copy(source, to / label)
        lines.append(f"  - {kind}: {json.dumps(f'./{label}')}")
    (to / "MLTable").write_text("\n".join(lines) + "\n")


def main(what: str, to: str, *pairs: str) -> None:
    parts = dict(zip(pairs[::2], pairs[1::2], strict=True))
    if what == "table":
        table(Path(to), parts)
    else:
        Path(to).write_text(json.dumps(list(parts.values())))


if __name__ == "__main__":
    main(*sys.argv[1:])
