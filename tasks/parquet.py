"""Rows of Parquet files on the hub, of which only the parts are fetched that are wanted.

They are the rows that `datasets` would give, in the same order. Where it would convert something,
it is left to it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.ahead import ahead
from tasks.remote_file import BLOCK, Fetcher, RemoteFile, ask_hub
from tasks.rows import MESSAGES

_BATCH = 1 << 20
"""Bytes of rows that are turned into Python's values at a time: as much as a core's cache holds.

Four times as much makes the whole path a third slower."""
_MOST_ROWS = 500
"""In one batch, however short they are: Python's values take more room than Arrow's."""
_MARGIN = 1 << 18
"""Bytes of a column beyond the expected end of the wanted rows, fetched in advance with them."""


class NotFitting(Exception):
    """The files cannot be read in parts; `datasets` reads them."""


@dataclass(frozen=True)
class File:
    """One file: where its bytes are, and what its end says of them."""

    place: str | RemoteFile
    metadata: Any
    """pyarrow.parquet.FileMetaData"""

    def open(self) -> Any:
        """A pyarrow.parquet.ParquetFile, whose buffers go with it."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(
            self.place, metadata=self.metadata, pre_buffer=False, buffer_size=BLOCK
        )


@dataclass
class ParquetSplit:
    """One split: its files in order."""

    columns: list[str]
    files: list[File]

    @property
    def num_rows(self) -> int:
        return sum(file.metadata.num_rows for file in self.files)

    def plan(self, count: int, fetcher: Fetcher) -> None:
        """Have the parts fetched that hold the first `count` rows."""
        for file in self.files:
            if isinstance(file.place, RemoteFile) and count > 0:
                fetcher.add(file.place, list(_ranges(file.metadata, self.columns, count)))
            count -= file.metadata.num_rows

    def batches(self, count: int) -> Iterator[list[dict[str, Any]]]:
        """The first `count` rows as plain values, some at a time, columns in their order."""
        for batch in ahead(self._read(count)):
            yield batch.to_pylist()

    def _read(self, count: int) -> Iterator[Any]:
        import pyarrow as pa

        # Its own pool keeps what was freed: sixty megabytes more after 200,000 rows, for no speed.
        pa.set_memory_pool(pa.system_memory_pool())
        for file in self.files:
            if count <= 0:
                return
            groups = _groups(file.metadata, count)
            # A batch may go over the end of a group: more of them than are needed are not touched.
            batches = file.open().iter_batches(
                min(_rows_a_batch(file.metadata, groups), count),
                row_groups=groups,
                columns=self.columns,
                use_threads=False,
            )
            for batch in batches:
                rows = batch.slice(0, count).select(self.columns)
                count -= rows.num_rows
                yield rows
                if count <= 0:
                    return


@dataclass(frozen=True)
class Source:
    """Where a dataset's files are: its name, its commit, and a folder for what is fetched."""

    dataset: str
    commit: str
    endpoint: str
    cache: Path

    def find(self, path: str) -> File:
        """The file on the hub, or where it was downloaded before."""
        import pyarrow.parquet as pq
        from huggingface_hub import hf_hub_url, try_to_load_from_cache
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        named = {"repo_type": "dataset", "revision": self.commit}
        known = try_to_load_from_cache(self.dataset, path, **named)
        if isinstance(known, str):
            return File(known, pq.read_metadata(known))
        address = hf_hub_url(self.dataset, path, endpoint=self.endpoint, **named)
        remote = RemoteFile(address, ask_hub(build_hf_headers()), self.cache)
        return File(remote, pq.read_metadata(remote))


def join_files(files: Iterable[File], declared: Mapping[str, Any] | None) -> ParquetSplit:
    """The split of these files: `messages` and the columns of a plain type.

    `declared`: the columns by the dataset's card. Raises NotFitting.
    """
    opened = list(files)
    schemas = [file.metadata.schema.to_arrow_schema() for file in opened]
    columns = _columns(schemas[0], declared)
    for schema in schemas[1:]:
        if any(not _same(schema, schemas[0], name) for name in columns):
            raise NotFitting("the files of a split differ in their columns")
    return ParquetSplit(columns, opened)


def _same(schema: Any, first: Any, name: str) -> bool:
    position = schema.get_field_index(name)
    return position >= 0 and bool(schema.field(position).type == first.field(name).type)


def _columns(schema: Any, declared: Mapping[str, Any] | None) -> list[str]:
    """The columns worth writing, in their order; `datasets` would give the same values of them."""
    import pyarrow as pa

    own = json.loads((schema.metadata or {}).get(b"huggingface") or b"{}")
    features = (own.get("info") or {}).get("features") or {}
    if declared is not None and list(declared) != schema.names:
        raise NotFitting("the card declares other columns than the file has")
    columns = []
    for field in schema:
        if field.name == MESSAGES:
            columns.append(field.name)
            continue
        kind = field.type
        feature = features.get(field.name)
        by_card = (declared or {}).get(field.name, _word(kind))
        if pa.types.is_nested(kind) or "binary" in str(kind) or not isinstance(by_card, str):
            continue
        if isinstance(feature, dict) and feature.get("_type") != "Value":
            continue
        if pa.types.is_dictionary(kind) or by_card != _word(kind):
            raise NotFitting(f"column {field.name} is not as declared")
        columns.append(field.name)
    return columns


def _word(kind: Any) -> str:
    """The type as a dataset's card calls it."""
    return {"double": "float64", "float": "float32"}.get(str(kind), str(kind))


def _rows_a_batch(metadata: Any, groups: Sequence[int]) -> int:
    """As many rows as fill a batch, by the mean of these groups, all columns counted."""
    size: int = sum(metadata.row_group(group).total_byte_size for group in groups)
    rows: int = sum(metadata.row_group(group).num_rows for group in groups)
    return max(1, min(_MOST_ROWS, rows * _BATCH // max(size, 1)))


def _groups(metadata: Any, count: int) -> list[int]:
    """The groups of rows that hold the first `count`."""
    groups: list[int] = []
    for number in range(metadata.num_row_groups):
        if count <= 0:
            break
        groups.append(number)
        count -= metadata.row_group(number).num_rows
    return groups


def _ranges(metadata: Any, columns: Sequence[str], count: int) -> Iterator[tuple[int, int]]:
    """Where in the file the first `count` rows of the columns are, (start, end) in bytes.

    Of a group of rows of which not all are wanted, as much of each column as it takes on average.
    """
    for number in _groups(metadata, count):
        group = metadata.row_group(number)
        share = min(1.0, count / group.num_rows) if group.num_rows else 1.0
        for index in range(group.num_columns):
            column = group.column(index)
            if column.path_in_schema.split(".")[0] not in columns:
                continue
            dictionary = column.dictionary_page_offset
            start = min(column.data_page_offset, dictionary or column.data_page_offset)
            size = column.total_compressed_size
            if share < 1:
                size = min(size, int(size * share) + _MARGIN)
            yield start, start + size
        count -= group.num_rows
