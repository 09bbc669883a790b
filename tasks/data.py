"""The conversations of one run: pinned, checked, written as JSON Lines and hashed."""

import hashlib
import json
import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prefect import task
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.tasks import exponential_backoff

from tasks.config import DatasetChoice
from tasks.errors import DataError
from tasks.explaining import explain, retry_on_transient
from tasks.hub import explained, open_splits, pin, resolve_revision
from tasks.locking import locked
from tasks.remote_file import Fetcher
from tasks.rows import FEWEST_TRAINING_ROWS, MESSAGES, line_of, rules_version, why_unusable
from tasks.values import DataSnapshot, SplitFile

if TYPE_CHECKING:
    import pandas

_PARTS = ".parts"
"""Folder of what was fetched, until all is written."""
_MANIFEST = "manifest.json"
_LOCK = ".lock"


def download_data(choice: DatasetChoice, folder: Path) -> DataSnapshot:
    """The data of `choice` below `folder`: from the cache if it is there and intact.

    Call it inside a flow. Only a moving revision (a branch, a tag or none) is asked for over the
    network; a second run with the same commit downloads nothing. Raises DataError, NotFound.
    """
    try:
        pinned = choice.model_copy(update={"revision": pin_revision(choice)})
        inputs = (pinned.model_dump(mode="json"), str(folder.absolute()), rules_version())
        snapshot = prepare_splits(*inputs)
        if not verify(snapshot):
            snapshot = prepare_splits.with_options(refresh_cache=True)(*inputs)
        return snapshot
    except Exception as error:
        explained = explain(error, f"Downloading dataset {choice.name}")
        if explained is None or explained is error:
            raise
        raise explained from error


@task(
    name="Pin data revision",
    task_run_name="pin revision of {choice.name}",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=retry_on_transient,
    persist_result=False,
)
def pin_revision(choice: DatasetChoice) -> str:
    """The commit that the choice's revision stands for now."""
    return resolve_revision(choice)


@task(
    name="Prepare data",
    task_run_name="prepare {choice[name]}",
    cache_policy=INPUTS + TASK_SOURCE,
    persist_result=True,
    result_serializer="json",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_jitter_factor=0.5,
    retry_condition_fn=retry_on_transient,
)
def prepare_splits(choice: dict[str, Any], folder: str, rules: str) -> DataSnapshot:
    """Download, check and write the splits. `rules` only makes the cache follow the row rules."""
    return prepare_data(DatasetChoice(**choice), Path(folder))


def prepare_data(choice: DatasetChoice, folder: Path) -> DataSnapshot:
    """Write three splits as JSON Lines below `folder`/<dataset>/<commit>-<percent>/.

    Beside them lies manifest.json, the snapshot itself. The same data always gives the same bytes.
    Of several that want the same at the same time one does it, and the others have what it made.
    Raises DataError when a split, the column `messages` or usable rows are missing, NotFound when
    the dataset is.
    """
    revision, info = pin(choice)
    pinned = choice.model_copy(update={"revision": revision})
    parts = [choice.name.replace("/", "--")] + ([choice.subset] if choice.subset else [])
    target = folder / _slug("--".join(parts)) / f"{revision[:12]}-{choice.percent:g}"
    target.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with locked(target / _LOCK) as waited:
        made = _made_since(began, target, pinned) if waited else None
        return made or _prepare(pinned, target, info)


def _made_since(began: float, target: Path, choice: DatasetChoice) -> DataSnapshot | None:
    """What another one has made of the same choice meanwhile, if it is whole."""
    manifest = target / _MANIFEST
    if not manifest.is_file() or manifest.stat().st_mtime < began:
        return None
    made = DataSnapshot.model_validate_json(manifest.read_bytes())
    splits = (made.train.split, made.test.split, made.sample.split)
    wanted = (choice.train_split, choice.test_split, choice.sample_split)
    is_same = splits == wanted and made.revision == choice.revision
    return made if is_same and verify(made) else None


def _prepare(choice: DatasetChoice, target: Path, info: Any | None) -> DataSnapshot:
    revision = str(choice.revision)
    parts_folder = target / _PARTS
    splits = open_splits(choice, revision, parts_folder, info)
    files: dict[str, SplitFile] = {}
    with explained(choice), Fetcher() as fetcher:
        counts = {split: _share(rows.num_rows, choice.percent) for split, rows in splits.items()}
        for split, rows in splits.items():
            rows.plan(counts[split], fetcher)
        fetcher.start()
        for split, rows in splits.items():
            files[split] = _write_split(
                rows.batches(counts[split]),
                split,
                target / f"{_slug(split)}.jsonl",
                wanted=counts[split],
                for_training=split in (choice.train_split, choice.test_split),
            )
    train, test, sample = (
        files[split] for split in (choice.train_split, choice.test_split, choice.sample_split)
    )
    _require_rows(choice, train, test, sample)
    hashes = "\n".join(file.sha256 for file in (train, test, sample))
    snapshot = DataSnapshot(
        dataset=choice.name,
        revision=revision,
        train=train,
        test=test,
        sample=sample,
        fingerprint=hashlib.sha256(hashes.encode()).hexdigest(),
    )
    _write_atomically(target / _MANIFEST, [f"{snapshot.model_dump_json(indent=2)}\n".encode()])
    shutil.rmtree(parts_folder, ignore_errors=True)
    return snapshot


def verify(snapshot: DataSnapshot) -> bool:
    """Whether the files are still there with the bytes that the snapshot was made from."""
    return all(
        Path(file.path).is_file() and _sha256(Path(file.path)) == file.sha256
        for file in (snapshot.train, snapshot.test, snapshot.sample)
    )


def sample_frame(snapshot: DataSnapshot, n: int = 5) -> "pandas.DataFrame":
    """The first `n` training rows, as written."""
    import pandas

    with open(snapshot.train.path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(n), strict=False)]
    return pandas.DataFrame(rows)


def pick_conversation(snapshot: DataSnapshot, seed: int) -> list[dict[str, str]]:
    """One conversation of the sample split, the same for the same seed.

    One that ends with the assistant's answer is preferred: it says what is to be expected.
    """
    with open(snapshot.sample.path, encoding="utf-8") as lines:
        conversations = [json.loads(line)[MESSAGES] for line in lines]
    answered = [
        conversation
        for conversation in conversations
        if conversation[-1]["role"] == "assistant"
        and any(message["role"] == "user" for message in conversation[:-1])
    ]
    chosen = random.Random(seed).choice(answered or conversations)
    return cast(list[dict[str, str]], chosen)


def _share(rows: int, percent: float) -> int:
    """How many of the rows are wanted: at least one of those there are."""
    return min(rows, max(1, round(rows * percent / 100)))


def _write_split(
    batches: Iterable[list[dict[str, Any]]],
    split: str,
    path: Path,
    *,
    wanted: int,
    for_training: bool,
) -> SplitFile:
    dropped: Counter[str] = Counter()
    used = 0

    def texts() -> Iterator[bytes]:
        nonlocal used
        for batch in batches:
            lines = []
            for row in batch:
                if reason := why_unusable(row[MESSAGES], for_training=for_training):
                    dropped[reason] += 1
                else:
                    lines.append(line_of(row))
            used += len(lines)
            yield b"".join(lines)

    digest, size = _write_atomically(path, texts())
    return SplitFile(
        split=split,
        path=str(path),
        rows=used,
        rows_read=wanted,
        dropped=dict(sorted(dropped.items())),
        sha256=digest,
        bytes=size,
    )


def _require_rows(choice: DatasetChoice, train: SplitFile, *others: SplitFile) -> None:
    needs = [(train, FEWEST_TRAINING_ROWS), *((other, 1) for other in others)]
    for file, fewest in needs:
        if file.rows < fewest:
            left_out = ", ".join(f"{count} with {reason}" for reason, count in file.dropped.items())
            raise DataError(
                f"Split {file.split} of {choice.name} has {file.rows} usable rows of "
                f"{file.rows_read} read, and at least {fewest} are needed"
                + (f" (left out: {left_out})." if left_out else "."),
                f"Raise dataset.percent (now {choice.percent:g}) or choose another split.",
            )


def _write_atomically(path: Path, texts: Iterable[bytes]) -> tuple[str, int]:
    """Write all or nothing; gives (sha256 in hex, size in bytes)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    digest, size = hashlib.sha256(), 0
    try:
        with open(temporary, "wb") as file:
            for text in texts:
                file.write(text)
                digest.update(text)
                size += len(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest(), size


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)
