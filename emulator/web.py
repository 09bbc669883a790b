"""Public addresses that the emulator holds: files at STATE/web/HOST/PATH, put there by its user.

Nothing is fetched. Some small data sets that many public examples read are made when they are
first asked for: from those that scikit-learn brings with it, or synthetic ones at
STATE/stand-ins/HOST/PATH.
"""

import csv
import gzip
import importlib.util
import io
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from emulator import stand_ins
from emulator.http import AzureError

if TYPE_CHECKING:
    from emulator.config import Config

_STORAGE = re.compile(
    r"(?:wasbs?|abfss?)://(?P<container>[^@/]+)@(?P<account>[^./]+)\.(?:blob|dfs)"
    r"\.core\.windows\.net(?:/(?P<path>[^?#]*))?(?:[?#].*)?"
)
_ADDRESS = re.compile(r"(?:https?|wasbs?|abfss?)://.+", re.DOTALL)


def is_web(uri: str) -> bool:
    """Whether an address is one of the web's or of a storage account."""
    return _ADDRESS.fullmatch(uri) is not None


def held_path(config: "Config", uri: str) -> Path:
    """The file or folder that the emulator holds for a public address.

    `wasbs://CONTAINER@ACCOUNT...` and `abfss://` mean what `https://ACCOUNT.blob...` does.
    Raises AzureError 400 that says where to put the file, when there is none.
    """
    host, path = place(uri)
    root = config.state / "web"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not host or ".." in parts or not re.fullmatch(r"[a-z0-9.-]+", host):
        raise AzureError(400, "UserError", f"The address '{uri}' is not understood.")
    file = root.joinpath(host, *parts)
    if not file.exists() and (make := _CLASSICS.get(f"{host}/{'/'.join(parts)}")):
        _write(file, make)
    if file.exists():
        return file
    if found := _stand_in(config.state / "stand-ins", f"{host}/{'/'.join(parts)}"):
        return found
    raise AzureError(
        400,
        "UserError",
        f"The local Azure ML reads nothing from the internet, and holds no copy of {uri}. "
        f"Put it at {file}, and submit the job again.",
    )


def synthetic_note(config: "Config", file: Path) -> str | None:
    """What to say of a file that is synthetic; None of any other."""
    root = config.state / "stand-ins"
    if not file.is_relative_to(root):
        return None
    address = file.relative_to(root).as_posix()
    return (
        f"SYNTHETIC DATA: https://{address} is not fetched; made-up data of the same "
        f"form stand for it. Put your own at {config.state / 'web' / address}."
    )


def _stand_in(root: Path, address: str) -> Path | None:
    """The synthetic file, or folder of such, for an address; None where there is none."""
    for wanted in [address, *stand_ins.below(address)]:
        file = root / wanted
        if not file.exists() and (content := stand_ins.stand_in(wanted)) is not None:
            _keep(file, content)
    found = root / address
    return found if found.exists() else None


def place(uri: str) -> tuple[str, str]:
    """Host and path of an address."""
    if match := _STORAGE.fullmatch(uri):
        host = f"{match['account']}.blob.core.windows.net".lower()
        return host, f"{match['container']}/{unquote(match['path'] or '')}"
    try:
        url = urlsplit(uri)
        return (url.hostname or "").lower(), unquote(url.path)
    except ValueError:
        return "", ""


def _write(file: Path, make: Callable[[Path], str | None]) -> None:
    """Make one of the classics, if this machine has scikit-learn."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        return
    try:
        text = make(Path(found.origin).parent / "datasets" / "data")
    except OSError:
        return
    if text is not None:
        _keep(file, text.encode())


def _keep(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Several may ask for it at the same time.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".") as folder:
        part = Path(folder) / file.name
        part.write_bytes(content)
        part.replace(file)


def _iris(folder: Path) -> str:
    """150 flowers: four lengths in centimetres, and the species by name."""
    first, *rows = csv.reader((folder / "iris.csv").read_text().splitlines())
    names = first[2:]
    header = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
    return _table(header, [[*row[:4], names[int(row[4])]] for row in rows])


def _diabetes(folder: Path) -> str:
    """442 patients: ten measures, centred and scaled to a sum of squares of 1, and the target."""
    with gzip.open(folder / "diabetes_data_raw.csv.gz", "rt") as file:
        rows = [[float(word) for word in line.split()] for line in file]
    with gzip.open(folder / "diabetes_target.csv.gz", "rt") as file:
        target = [float(line) for line in file]
    columns = [_scaled(column) for column in zip(*rows, strict=True)]
    header = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "target"]
    cells = zip(*columns, target, strict=True)
    return _table(header, [[repr(cell) for cell in row] for row in cells])


def _scaled(column: tuple[float, ...]) -> list[float]:
    mean = math.fsum(column) / len(column)
    length = math.sqrt(math.fsum((value - mean) ** 2 for value in column))
    return [(value - mean) / length for value in column]


def _table(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


_EXAMPLES = "azuremlexamples.blob.core.windows.net/datasets"
_CLASSICS: dict[str, Callable[[Path], str | None]] = {
    f"{_EXAMPLES}/iris.csv": _iris,
    f"{_EXAMPLES}/diabetes.csv": _diabetes,
}
