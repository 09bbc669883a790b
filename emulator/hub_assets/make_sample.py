"""Make the stand-in hub's chat data from the `chitchat-dataset` package.

    pip install --no-deps --target DIR chitchat-dataset==0.9.0
    python emulator/hub_assets/make_sample.py DIR/chitchat_dataset

A message is used only if every word of it is in `vocabulary.txt`. That list was reviewed word by
word and leaves out personal names, insults, drugs, violence, sex, religion, party politics and
illness. Messages with longer numbers, addresses, links or markup are left out too.
What remains of a conversation in one piece, four to eight turns, is one row.
The same package and the same pyarrow give the same bytes.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "datasets" / "HuggingFaceH4" / "ultrachat_200k" / "data"
ROWS = {"train_sft": 2400, "test_sft": 240, "train_gen": 240, "test_gen": 240}
SHARES = {"train_sft": 0.73, "test_sft": 0.09, "train_gen": 0.09, "test_gen": 0.09}
MAX_TURNS = 8
MIN_TURNS = 4
MAX_MESSAGE = 400
MIN_CHARACTERS = 150
ROWS_PER_CONVERSATION = 3

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
UNWANTED = re.compile(
    r"[^\x20-\x7e\n]|[@<>{}\[\]\\^~|_=*#]|https?:|www\.|\.(?:com|org|net|edu)\b"
    r"|\d{3,}|\d[- .]\d|[a-z]\d|\d[a-z]{3,}",
    re.IGNORECASE,
)
ABOUT_A_PERSON = re.compile(
    r"\b(?:names?|call me|phone number|my number|your number|your address|years old|how old)\b",
    re.IGNORECASE,
)
TYPOGRAPHY = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
)


def turns(conversation: dict[str, Any]) -> list[str]:
    """The conversation's messages in order, those of one speaker in a row joined by newlines."""
    merged: list[str] = []
    last = None
    for group in conversation["messages"]:
        for message in group:
            text = " ".join(message["text"].translate(TYPOGRAPHY).replace("\u2026", "...").split())
            if not text:
                continue
            if message["sender"] == last:
                merged[-1] += "\n" + text
            else:
                merged.append(text)
                last = message["sender"]
    return merged


def fit_to_show(text: str, vocabulary: frozenset[str]) -> bool:
    return (
        len(text) <= MAX_MESSAGE
        and not UNWANTED.search(text)
        and not ABOUT_A_PERSON.search(text)
        and vocabulary.issuperset(WORD.findall(text.lower()))
    )


def pieces(messages: list[str], vocabulary: frozenset[str]) -> Iterator[list[str]]:
    """Runs of fit messages: four, six or eight turns that are long enough to say something."""
    run: list[str] = []
    for message in [*messages, ""]:
        fit = bool(message) and fit_to_show(message, vocabulary)
        if fit:
            run.append(message)
        if not fit or len(run) == MAX_TURNS:
            piece = run[: len(run) // 2 * 2]
            if len(piece) >= MIN_TURNS and sum(map(len, piece)) >= MIN_CHARACTERS:
                yield piece
            run = []


def row(piece: list[str]) -> dict[str, Any]:
    messages = [
        {"content": text, "role": "user" if index % 2 == 0 else "assistant"}
        for index, text in enumerate(piece)
    ]
    identity = hashlib.sha256(json.dumps(messages).encode()).hexdigest()
    return {"prompt": piece[0], "prompt_id": identity, "messages": messages}


def split_of(conversation_id: str) -> str:
    """The split of all rows of one conversation, so that no split repeats another's talk."""
    point = int(hashlib.sha256(conversation_id.encode()).hexdigest()[:8], 16) / 0x1_0000_0000
    for split, share in SHARES.items():
        point -= share
        if point < 0:
            return split
    return "test_gen"


def sample(data: dict[str, Any], vocabulary: frozenset[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows by split, longest conversations first chosen, then in the order of their hashes."""
    candidates: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in ROWS}
    for conversation_id, conversation in data.items():
        found = sorted(pieces(turns(conversation), vocabulary), key=len, reverse=True)
        for piece in found[:ROWS_PER_CONVERSATION]:
            made = row(piece)
            candidates[split_of(conversation_id)][made["prompt_id"]] = made
    chosen = {}
    for split, number in ROWS.items():
        ranked = sorted(
            candidates[split].values(), key=lambda r: (-len(r["messages"]), r["prompt_id"])
        )
        if len(ranked) < number:
            raise SystemExit(f"{split}: {number} rows wanted, {len(ranked)} are fit to be shown")
        chosen[split] = sorted(ranked[:number], key=lambda r: r["prompt_id"])
    return chosen


def write(rows: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("content", pa.string()), ("role", pa.string())])
    schema = pa.schema(
        [("prompt", pa.string()), ("prompt_id", pa.string()), ("messages", pa.list_(message))]
    )
    folder.mkdir(parents=True, exist_ok=True)
    for split, part in rows.items():
        path = folder / f"{split}-00000-of-00001.parquet"
        table = pa.Table.from_pylist(part, schema=schema)
        pq.write_table(table, path, compression="zstd", compression_level=19)
        print(f"{path.name}: {len(part)} rows, {path.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="folder of the installed chitchat_dataset")
    parser.add_argument("--out", type=Path, default=TARGET, help="where the Parquet files go")
    arguments = parser.parse_args()
    data = json.loads((arguments.package / "dataset.json").read_text(encoding="utf-8"))
    vocabulary = frozenset((HERE / "vocabulary.txt").read_text(encoding="utf-8").split())
    write(sample(data, vocabulary), arguments.out)


if __name__ == "__main__":
    main()
