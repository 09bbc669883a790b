"""Reading datasets of the Hugging Face hub, with errors that list what there is."""

import dataclasses
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tasks.config import DatasetChoice
from tasks.errors import DataError, NotFound, PermissionProblem, UserError
from tasks.explaining import is_transient
from tasks.hub_listing import listing
from tasks.parquet import NotFitting, Source, join_files
from tasks.remote_file import Fetcher
from tasks.rows import MESSAGES

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PUBLIC_HUB = "https://huggingface.co"
_BATCH = 500
_OPENED_AT_ONCE = 4


def resolve_revision(choice: DatasetChoice) -> str:
    """The commit (40 hex digits) of the choice's revision; of the newest state without one.

    A revision that is a commit already costs no request. Raises NotFound, PermissionProblem,
    DataError; lets transient errors through, for a retry.
    """
    return pin(choice)[0]


def pin(choice: DatasetChoice) -> tuple[str, Any | None]:
    """The commit, and what the hub says of it if it had to be asked."""
    if choice.revision and _COMMIT.fullmatch(choice.revision):
        return choice.revision, None
    info = _look_up(choice, choice.revision)
    if not info.sha:
        raise DataError(
            f"The hub gives no commit for dataset {choice.name}.",
            "Set dataset.revision to a commit.",
        )
    return str(info.sha), info


def _look_up(choice: DatasetChoice, revision: str | None) -> Any:
    from huggingface_hub import HfApi

    with explained(choice):
        return HfApi(endpoint=hub_address()).dataset_info(choice.name, revision=revision)


class Rows(Protocol):
    """The rows of one split, with the columns worth writing."""

    @property
    def num_rows(self) -> int: ...

    def plan(self, count: int, fetcher: Fetcher) -> None:
        """Have what holds the first `count` rows fetched."""

    def batches(self, count: int) -> Iterator[list[dict[str, Any]]]:
        """The first `count` rows as plain values, some at a time."""


@dataclass
class LoadedRows:
    """A split that `datasets` has downloaded and converted."""

    rows: Any

    @property
    def num_rows(self) -> int:
        return int(self.rows.num_rows)

    def plan(self, count: int, fetcher: Fetcher) -> None:
        """Nothing: it is all here."""

    def batches(self, count: int) -> Iterator[list[dict[str, Any]]]:
        chosen = self.rows.select(range(count)).with_format("arrow")
        for table in chosen.iter(batch_size=_BATCH):
            yield table.to_pylist()


def open_splits(
    choice: DatasetChoice, revision: str, cache: Path, info: Any | None = None
) -> dict[str, Rows]:
    """The rows of the splits that the choice names. `info`: what the hub said of the revision.

    The columns are `messages` and all others of a plain type (no images, no sound). Of Parquet
    files only what is read is fetched, into `cache`; other files of these splits are downloaded.
    """
    wanted = list(dict.fromkeys((choice.train_split, choice.test_split, choice.sample_split)))
    return _in_parts(choice, revision, wanted, cache, info) or _as_a_whole(choice, revision, wanted)


def _in_parts(
    choice: DatasetChoice, revision: str, wanted: list[str], cache: Path, info: Any | None = None
) -> dict[str, Rows] | None:
    """The splits where the card describes Parquet files; None where `datasets` has to see."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return None
    info = info or _look_up(choice, revision)
    card = info.card_data.to_dict() if info.card_data else None
    found = listing(card, [each.rfilename for each in info.siblings or []], choice.subset)
    if found is None or any(split not in found.files for split in wanted):
        return None
    source = Source(choice.name, revision, hub_address(), cache)
    with explained(choice), ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        opening = {split: pool.map(source.find, found.files[split]) for split in wanted}
        try:
            splits = {split: join_files(opening[split], found.columns) for split in wanted}
        except NotFitting:
            return None
    for split in splits.values():
        _require_messages(choice, split.columns)
    return dict(splits)


def _as_a_whole(choice: DatasetChoice, revision: str, wanted: list[str]) -> dict[str, Rows]:
    """The splits as `datasets` loads them: every file of theirs."""
    import datasets

    # datasets reads HF_ENDPOINT once, when it is imported.
    datasets.config.HF_ENDPOINT = hub_address()
    with explained(choice):
        builder = datasets.load_dataset_builder(choice.name, choice.subset, revision=revision)
        files = dict(builder.config.data_files or {})
        _require_splits(choice, wanted, [str(split) for split in files])
        if builder.info.features is not None:
            _require_messages(choice, list(builder.info.features))
        return {
            split: LoadedRows(_worth_writing(choice, rows))
            for split, rows in _load(datasets, builder, {name: files[name] for name in wanted})
        }


def _load(datasets: Any, builder: Any, files: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    # By file format and files, not by name: the name would download every split of the dataset.
    loader = type(builder).__module__.rsplit(".", 1)[-1]
    sources = {split: list(paths) for split, paths in files.items()}
    loaded = datasets.load_dataset(loader, data_files=sources, **_reading_options(builder.config))
    for split in files:
        yield split, loaded[split]


def _reading_options(config: Any) -> dict[str, Any]:
    """How the dataset's own card wants its files read, for example the separator of its CSV."""
    from datasets import BuilderConfig

    general = {field.name for field in dataclasses.fields(BuilderConfig)}
    return {
        field.name: value
        for field in dataclasses.fields(config)
        if field.name not in general
        and (value := getattr(config, field.name)) is not None
        and value != field.default
        and isinstance(value, str | int | float | bool | list)
    }


def _worth_writing(choice: DatasetChoice, rows: Any) -> Any:
    _require_messages(choice, rows.column_names)
    from datasets import Value

    return rows.select_columns(
        [
            name
            for name, kind in rows.features.items()
            if name == MESSAGES or (isinstance(kind, Value) and "binary" not in kind.dtype)
        ]
    )


def _require_splits(choice: DatasetChoice, wanted: list[str], found: list[str]) -> None:
    missing = [split for split in wanted if split not in found]
    if missing:
        raise DataError(
            f"Dataset {choice.name} has no split {', '.join(missing)}.",
            f"It has {', '.join(found) or 'none'}: set dataset.train_split, dataset.test_split and "
            "dataset.sample_split.",
        )


def _require_messages(choice: DatasetChoice, columns: list[str]) -> None:
    if MESSAGES not in columns:
        raise DataError(
            f"Dataset {choice.name} has no column `{MESSAGES}`; it has {', '.join(columns)}.",
            "Choose a dataset of conversations: each row a list of {role, content}.",
        )


def hub_address() -> str:
    """The hub's address, as HF_ENDPOINT has it."""
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")


@contextmanager
def explained(choice: DatasetChoice) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if explained := _explain(error, choice):
            raise explained from error
        raise


def _explain(error: BaseException, choice: DatasetChoice) -> UserError | None:
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub import errors

    name = f"Dataset {choice.name}"
    if isinstance(error, errors.GatedRepoError):
        return PermissionProblem(
            f"{name} is gated.", "Accept its terms on the hub, then set HF_TOKEN to a token of it."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFound(
            f"{name} has no revision {choice.revision}.",
            "Check dataset.revision, or leave it empty for the newest commit.",
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return DataError(
            f"{name} cannot be looked up: HF_HUB_OFFLINE is set.",
            "Unset it, or set dataset.revision to a commit that was downloaded before.",
        )
    if isinstance(error, errors.RepositoryNotFoundError | DatasetNotFoundError):
        return NotFound(
            f"{name} is not on the hub {hub_address()}, or it is private.",
            "Check dataset.name (owner/name), or set HF_TOKEN for a private one.",
        )
    if isinstance(error, errors.HFValidationError):
        return DataError(f"{choice.name!r} is not a name of a dataset.", "Write it as owner/name.")
    if isinstance(error, ValueError) and "BuilderConfig" in str(error):
        known = ", ".join(re.findall(r"'([^']+)'", str(error).partition("vailable:")[2]))
        return DataError(
            f"{name} has no subset {choice.subset}.",
            f"It has {known}: correct dataset.subset." if known else "Correct dataset.subset.",
        )
    if is_transient(error):
        return None
    if isinstance(error, DatasetsError | errors.HfHubHTTPError | FileNotFoundError):
        return DataError(
            f"{name} cannot be read: {error}", "Check it on the hub, or choose another."
        )
    return None
