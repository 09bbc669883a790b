"""A dataset in ultrachat's shape and proportions, of as many rows as wanted, for a local hub."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulator.hub_assets import make_sample

NAME = "bench/ultrachat"
SHARES = {"train_sft": 0.403, "test_sft": 0.045, "train_gen": 0.497, "test_gen": 0.055}
"""Of all rows, as in ultrachat_200k."""
_ROWS_A_SHARD = 20_000
_ROWS_A_GROUP = 1000
_VOCABULARY = Path(make_sample.__file__).parent / "vocabulary.txt"
_CARD = """---
configs:
- config_name: default
  data_files:
{files}---
"""


def make_dataset(folder: Path, rows: int) -> Path:
    """The repository's folder below `folder`; made once for a number of rows, always the same."""
    target = folder / str(rows) / "datasets" / NAME
    if not (target / "README.md").is_file():
        data = target / "data"
        data.mkdir(parents=True, exist_ok=True)
        words = _VOCABULARY.read_text(encoding="utf-8").split()
        for split, share in SHARES.items():
            _write_split(data, split, round(rows * share), words)
        files = "".join(f"  - split: {s}\n    path: data/{s}-*\n" for s in SHARES)
        (target / "README.md").write_text(_CARD.format(files=files))
    return folder / str(rows)


def _write_split(folder: Path, split: str, rows: int, words: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("content", pa.string()), ("role", pa.string())])
    schema = pa.schema(
        [("prompt", pa.string()), ("prompt_id", pa.string()), ("messages", pa.list_(message))]
    )
    made, shards = _conversations(split, words), -(-rows // _ROWS_A_SHARD)
    for shard in range(shards):
        path = folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        left = min(_ROWS_A_SHARD, rows - shard * _ROWS_A_SHARD)
        with pq.ParquetWriter(path, schema) as writer:
            while left > 0:
                group = [next(made) for _ in range(min(left, _ROWS_A_GROUP))]
                writer.write_table(pa.Table.from_pylist(group, schema))
                left -= len(group)


def _conversations(split: str, words: list[str]) -> Iterator[dict[str, Any]]:
    """Turns of two speakers; about 7 kB a conversation, words as frequent as in a language."""
    chance = random.Random(split)
    common = words[:4000]
    weights = [1 / (rank + 10) for rank in range(len(common))]
    number = 0
    while True:
        turns = 2 * chance.randint(1, 5)
        text = chance.choices(common, weights, k=200 * turns)
        messages = []
        for turn in range(turns):
            part = text[200 * turn : 200 * (turn + 1)]
            if turn % 2 == 0:
                part = part[:40]
            messages.append(
                {"content": " ".join(part), "role": "assistant" if turn % 2 else "user"}
            )
        number += 1
        identity = hashlib.sha256(f"{split} {number}".encode()).hexdigest()
        yield {"prompt": messages[0]["content"], "prompt_id": identity, "messages": messages}
