"""Check, split and tokenize conversations.

Writes below output_dir:
    {train,validation,test}.jsonl  {"input_ids": [...], "assistant": [[start, end], ...]};
                                   `assistant`: the spans of tokens that are learned
    tokenizer/                     what tokenized them
    summary.json                   rows and tokens used, rows dropped and why
"""

import argparse
import json
import os
import random
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from rows import UserError, read_rows, table_files  # type: ignore[import-not-found]

MINIMUM_TRAINING_ROWS = 10
SPLIT_SEED = 0
BOOLEAN = ("true", "false")
SPLITS = ("train", "validation", "test")

Messages = list[dict[str, str]]


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(allow_abbrev=False)
    add = parser.add_argument
    add("--batch_size", type=int, default=1000)
    add("--pad_to_max_length", choices=BOOLEAN, default="false")
    add("--max_seq_length", type=int, default=-1)
    for split in SPLITS:
        add(f"--{split}_file_path", type=Path)
        add(f"--{split}_mltable_path", type=Path)
    add("--model_selector_output", type=Path, required=True)
    add("--trust_remote_code", choices=BOOLEAN, default="false")
    add("--output_dir", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    a = parse_arguments()
    metadata = json.loads((a.model_selector_output / "metadata.json").read_text())
    merge = str(metadata["finetune_config"].get("system_role_supported")).lower() == "false"

    dropped: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    given = {}
    for split in SPLITS:
        table, file = getattr(a, f"{split}_mltable_path"), getattr(a, f"{split}_file_path")
        if files := table_files(table) if table else [file] if file else []:
            rows = [row for file in files for row in read_rows(file)]
            given[split] = conversations(rows, split, merge, dropped[split])
    if "train" not in given:
        raise UserError("train_file_path or train_mltable_path need to be passed.")
    for split, found in given.items():
        if not found:
            reasons = describe(dropped[split])
            raise UserError(f"Found no examples after data preprocessing for {split}: {reasons}.")
    if len(given["train"]) < MINIMUM_TRAINING_ROWS:
        raise UserError(
            f"Training dataset has {len(given['train'])} non-null samples, which is fewer than "
            f"{MINIMUM_TRAINING_ROWS} samples, which is the min required to finetune. "
            "Add more conversations of two or more messages to the training file."
        )

    tokenizer = load_tokenizer(a.model_selector_output / "model", a.trust_remote_code == "true")
    longest = metadata.get("max_position_embeddings") or tokenizer.model_max_length
    length = min(a.max_seq_length, longest) if a.max_seq_length > 0 else longest
    counts = {}
    for split, found in divide(given).items():
        rows = tokenize(found, tokenizer, length, a.batch_size, split)
        kept = [row for row in rows if row["assistant"]]
        if not kept:
            raise UserError(
                "Unable to continue finetuning. No assistant tokens found after preprocessing. "
                f"Please increase max_seq_length (now {length}) or check that the {split} "
                "conversations have messages of the role assistant."
            )
        if short := len(rows) - len(kept):
            dropped[split]["no assistant tokens within max_seq_length"] += short
        counts[split] = write(kept, a.output_dir / f"{split}.jsonl")
    tokenizer.save_pretrained(a.output_dir / "tokenizer")
    summary = {
        "max_seq_length": length,
        "pad_to": length if a.pad_to_max_length == "true" else None,
        "rows": counts,
        "dropped": {split: dict(reasons) for split, reasons in dropped.items()},
    }
    (a.output_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for split, total in counts.items():
        print(f"{split}: {total}, dropped: {describe(dropped[split]) or 'none'}")
    log_counts(counts)


def load_tokenizer(folder: Path, trust: bool) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    if (folder / "tokenizer.json").is_file():
        # The class itself, not AutoTokenizer: that one would import torch first.
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    if not tokenizer.chat_template:
        raise UserError("The base model's tokenizer has no chat template; it is not a chat model.")
    return tokenizer


def conversations(
    rows: list[Any], split: str, merge_system: bool, dropped: Counter[str]
) -> list[Messages]:
    """The rows' messages. Rows without enough messages are counted in `dropped`, by reason."""
    if rows and not any(isinstance(row, dict) and "messages" in row for row in rows):
        raise UserError(f"The {split} data has no column messages.")
    found = []
    for number, row in enumerate(rows, 1):
        messages = row.get("messages") if isinstance(row, dict) else None
        if isinstance(messages, str):
            try:
                messages = json.loads(messages)
            except ValueError:
                raise UserError(f"{split} row {number}: messages is not JSON.") from None
        if messages is not None and not isinstance(messages, list):
            raise UserError(f"{split} row {number}: messages is not a list.")
        if not messages:
            dropped["blank row" if row is None else "no messages"] += 1
        elif len(messages) == 1:
            dropped["only one message"] += 1
        else:
            found.append(checked(messages, f"{split} row {number}", merge_system))
    return found


def checked(messages: Any, where: str, merge_system: bool) -> Messages:
    for message in messages:
        texts = message if isinstance(message, dict) else {}
        if not all(isinstance(texts.get(key), str) for key in ("role", "content")):
            raise UserError(
                f"Failure while applying chat template to dataset: {where} has a message that is "
                "not an object with the texts role and content."
            )
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    return merge_system_message(plain, where) if merge_system else plain


def merge_system_message(messages: Messages, where: str) -> Messages:
    """For models without a system role: its text goes before the first user message's."""
    places = [i for i, message in enumerate(messages) if message["role"] == "system"]
    if places and places != [0]:
        raise UserError(f"{where}: only the first message may have the role system.")
    users = [i for i, message in enumerate(messages) if message["role"] == "user"]
    if not users:
        raise UserError(f"{where}: there is no message of the role user.")
    if places:
        first = messages[users[0]]
        first["content"] = f"{messages[0]['content']}\n{first['content']}"
    return messages[len(places) :]


def divide(given: dict[str, list[Messages]]) -> dict[str, list[Messages]]:
    """Split what is missing off the training rows: 10 % each, or 20 % where one is missing."""
    missing = [split for split in SPLITS if split not in given]
    share = 0.1 if len(missing) == 2 else 0.2
    train = list(given["train"])
    if missing:
        random.Random(SPLIT_SEED).shuffle(train)
    result = dict(given)
    size = max(1, round(share * len(train)))
    for split in missing:
        result[split], train = train[:size], train[size:]
    result["train"] = train
    return {split: result[split] for split in SPLITS}


def tokenize(
    rows: list[Messages], tokenizer: Any, length: int, batch_size: int, split: str
) -> list[dict[str, Any]]:
    """Token ids of every conversation, cut at `length`, with the spans of assistant tokens."""
    result = []
    for batch in (rows[i : i + batch_size] for i in range(0, len(rows), batch_size)):
        try:
            rendered = [render(messages, tokenizer) for messages in batch]
        except Exception as error:  # Templates raise what they like.
            raise UserError(
                f"Failure while applying chat template to dataset: {split}: {error}"
            ) from error
        encoded = tokenizer(
            [text for text, _ in rendered], add_special_tokens=False, return_offsets_mapping=True
        )
        for (_, spans), ids, offsets in zip(
            rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            ids, offsets = ids[:length], offsets[:length]
            tokens = [token_span(offsets, span) for span in spans]
            result.append({"input_ids": ids, "assistant": [t for t in tokens if t[0] < t[1]]})
    return result


def render(messages: Messages, tokenizer: Any) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as the model reads it, and where the assistant's characters are.

    An assistant's message begins where the prompt for it ends, and reaches as far as the text
    up to it and the whole text agree: its end mark is learned too.
    """

    def text(part: Messages, prompt: bool = False) -> str:
        return str(
            tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=prompt)
        )

    whole = text(messages)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            start = agreement(whole, text(messages[:i], prompt=True))
            end = agreement(whole, text(messages[: i + 1]))
            spans.append((start, end))
    return whole, spans


def agreement(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def token_span(offsets: list[tuple[int, int]], span: tuple[int, int]) -> tuple[int, int]:
    """The tokens that lie wholly within a span of characters."""
    inside = [i for i, (start, end) in enumerate(offsets) if span[0] <= start and end <= span[1]]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def write(rows: list[dict[str, Any]], file: Path) -> dict[str, int]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    return {
        "rows": len(rows),
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "assistant_tokens": sum(end - start for row in rows for start, end in row["assistant"]),
    }


def describe(counts: Counter[str]) -> str:
    return ", ".join(f"{count} rows: {reason}" for reason, count in counts.items())


def log_counts(counts: dict[str, dict[str, int]]) -> None:
    """Rows and tokens of each split as tags of this run and of the root run."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    runs = {os.environ.get("MLFLOW_RUN_ID"), os.environ.get("AZUREML_ROOT_RUN_ID")} - {None, ""}
    if not uri.startswith("http"):
        return
    tags = [
        {"key": f"{split}_{what}", "value": str(count)}
        for split, amounts in counts.items()
        for what, count in amounts.items()
    ]
    for run in runs:
        request = urllib.request.Request(
            f"{uri}/api/2.0/mlflow/runs/log-batch",
            json.dumps({"run_id": run, "tags": tags}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except OSError as error:
            print(f"The counts could not be logged to run {run}: {error}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"UserError: {error}")
