"""Reading datasets of the Hugging Face hub, with errors that list what there is."""

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.config import DatasetChoice
from tasks.errors import DataError, NotFound, PermissionProblem, UserError
from tasks.explaining import is_transient
from tasks.rows import MESSAGES

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PUBLIC_HUB = "https://huggingface.co"


def resolve_revision(choice: DatasetChoice) -> str:
    """The commit (40 hex digits) of the choice's revision; of the newest state without one.

    A revision that is a commit already costs no request. Raises NotFound, PermissionProblem,
    DataError; lets transient errors through, for a retry.
    """
    if choice.revision and _COMMIT.fullmatch(choice.revision):
        return choice.revision
    from huggingface_hub import HfApi

    with _explained(choice):
        info = HfApi(endpoint=_endpoint()).dataset_info(choice.name, revision=choice.revision)
    if not info.sha:
        raise DataError(
            f"The hub gives no commit for dataset {choice.name}.",
            "Set dataset.revision to a commit.",
        )
    return str(info.sha)


def open_splits(choice: DatasetChoice, revision: str) -> dict[str, Any]:
    """The splits that the choice names, as datasets.Dataset with the columns worth writing.

    Only the files of these splits are downloaded. The columns are `messages` and all others of a
    plain type (no images, no sound).
    """
    import datasets

    # datasets reads HF_ENDPOINT once, when it is imported.
    datasets.config.HF_ENDPOINT = _endpoint()
    wanted = list(dict.fromkeys((choice.train_split, choice.test_split, choice.sample_split)))
    with _explained(choice):
        builder = datasets.load_dataset_builder(choice.name, choice.subset, revision=revision)
        files = dict(builder.config.data_files or {})
        _require_splits(choice, wanted, [str(split) for split in files])
        if builder.info.features is not None:
            _require_messages(choice, list(builder.info.features))
        return {
            split: _worth_writing(choice, rows)
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


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")


@contextmanager
def _explained(choice: DatasetChoice) -> Iterator[None]:
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
            f"{name} is not on the hub {_endpoint()}, or it is private.",
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
