"""All benchmarks of speed, one after the other: a table, JSON and pictures.

    python -m benchmarks [PART ...] [--again]

Parts: data_path, rehearsal, makespan, waiting, overhead, trainer, configurations; all of them take
about half an hour. --again shows the last results without measuring. Everything goes below
.local/bench/: summary.json, a JSON file a part, and a picture of each growth.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.pictures import draw
from benchmarks.targets import Outcome, outcomes

FOLDER = Path(".local/bench")
PARTS: Mapping[str, Sequence[str]] = {
    "data_path": ("--rounds", "5", "--growth", "25000", "50000", "100000", "200000"),
    "rehearsal": (),
    "makespan": (),
    "waiting": (),
    "overhead": (),
    "trainer": (),
    "configurations": (),
}
"""The arguments of each."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--again", action="store_true", help="show the last results")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    failed = [] if options.again else [part for part in parts if not measure(part)]
    results = {part: read(part) for part in parts if part not in failed}
    found = outcomes({part: result for part, result in results.items() if result})
    FOLDER.mkdir(parents=True, exist_ok=True)
    pictures = draw(results, FOLDER)
    summary = FOLDER / "summary.json"
    summary.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    show(found)
    print("\n".join(str(each) for each in (summary, *pictures)))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(part: str) -> bool:
    """Run a part, its output shown; whether it ended well."""
    print(f"== python -m benchmarks.{part}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{part}", *PARTS[part]]
    code = subprocess.run(command).returncode
    print(f"== {part}: {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


def read(part: str) -> Any:
    """The last results of a part; None where there are none."""
    file = FOLDER / f"{part}.json"
    return json.loads(file.read_text()) if file.is_file() else None


def show(found: Sequence[Outcome]) -> None:
    table = Table("part", "what", "asked", "measured", "", title="Benchmarks")
    for each in found:
        table.add_row(
            each.part, each.what, each.asked, each.measured, "" if each.reached else "missed"
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
