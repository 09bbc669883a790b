"""Check what a fine-tuning job was given before the steps that cost time and money start."""

import argparse
import csv
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

ROWS_LOOKED_AT = 100
FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
BOOLEAN = ("true", "false")


class UserError(Exception):
    """Something that the person who submitted the job can put right."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(allow_abbrev=False)
    add = parser.add_argument
    add("--mlflow_model_path", type=Path)
    add("--compute_finetune", default="serverless")
    add("--compute_model_import", default="serverless")
    add("--compute_data_preprocess", default="serverless")
    add("--task_name", default="SingleLabelClassification")
    add("--num_nodes_finetune", type=int, default=1)
    add("--number_of_gpu_to_use_finetuning", type=int, default=1)
    for split in ("train", "validation", "test"):
        add(f"--{split}_file_path", type=Path)
        add(f"--{split}_mltable_path", type=Path)
    add("--user_column_names")
    add("--system_properties")
    add("--num_train_epochs", type=int)
    add("--max_steps", type=int)
    add("--per_device_train_batch_size", type=int)
    add("--per_device_eval_batch_size", type=int)
    add("--auto_find_batch_size", choices=BOOLEAN, default="false")
    add("--learning_rate", type=float)
    add("--adam_beta1", type=float)
    add("--adam_beta2", type=float)
    add("--adam_epsilon", type=float)
    add("--apply_deepspeed", choices=BOOLEAN, default="false")
    add("--precision", choices=("32", "16"), default="32")
    add("--apply_lora", choices=BOOLEAN, default="false")
    add("--apply_ort", choices=BOOLEAN, default="false")
    add("--deepspeed_stage", choices=("2", "3"), default="2")
    add("--ignore_mismatched_sizes", choices=BOOLEAN, default="true")
    add("--max_seq_length", type=int, default=-1)
    add("--validation_info", type=Path, required=True)
    return parser.parse_args()


def check_parameters(a: argparse.Namespace) -> list[str]:
    """Raise UserError for values that the training cannot work with; gives what was checked."""
    at_least_one = (
        "num_nodes_finetune",
        "number_of_gpu_to_use_finetuning",
        "num_train_epochs",
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
    )
    for name in at_least_one:
        value = getattr(a, name)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; it must be 1 or more.")
    if a.learning_rate is not None and a.learning_rate <= 0:
        raise UserError(f"learning_rate is {a.learning_rate:g}; it must be greater than 0.")
    for name in ("adam_beta1", "adam_beta2"):
        value = getattr(a, name)
        if value is not None and not 0 <= value < 1:
            raise UserError(f"{name} is {value:g}; it must be at least 0 and less than 1.")
    if a.adam_epsilon is not None and a.adam_epsilon < 0:
        raise UserError(f"adam_epsilon is {a.adam_epsilon:g}; it must not be negative.")
    if a.max_seq_length != -1 and a.max_seq_length < 1:
        raise UserError(f"max_seq_length is {a.max_seq_length}; it must be -1 or 1 and more.")
    if a.apply_deepspeed == "true" and a.auto_find_batch_size == "true":
        raise UserError(
            "apply_deepspeed and auto_find_batch_size cannot both be true; set one to false."
        )
    if a.apply_deepspeed == a.apply_ort == "true" and a.deepspeed_stage == "3":
        raise UserError("apply_ort does not work with deepspeed_stage 3; use stage 2.")
    return [*at_least_one, "learning_rate", "adam_beta1", "adam_beta2", "max_seq_length"]


def check_model(folder: Path) -> str:
    """What kind of model the folder holds."""
    if (folder / "MLmodel").is_file():
        return "mlflow_model"
    if (folder / "config.json").is_file():
        return "huggingface_model"
    raise UserError(
        f"mlflow_model_path: {folder} holds neither an MLmodel file nor a Hugging Face config.json."
    )


def first_rows(file: Path) -> list[dict[str, Any]]:
    """The first rows of a data file; UserError where one of them cannot be read."""
    kind = file.suffix.lower()
    if kind == ".parquet":
        from pyarrow.parquet import ParquetFile

        batch = next(ParquetFile(file).iter_batches(ROWS_LOOKED_AT), None)
        return list(batch.to_pylist()) if batch else []
    with file.open(encoding="utf-8", newline="") as lines:
        if kind in (".csv", ".tsv"):
            reader = csv.DictReader(lines, delimiter="," if kind == ".csv" else "\t")
            return list(islice(reader, ROWS_LOOKED_AT))
        if kind == ".json":
            text = lines.read()
            if text.lstrip().startswith("["):
                return list(json.loads(text))[:ROWS_LOOKED_AT]
            lines.seek(0)
        rows = []
        for number, line in enumerate(islice(lines, ROWS_LOOKED_AT), 1):
            try:
                rows.append(json.loads(line) if line.strip() else {})
            except ValueError as error:
                raise UserError(f"{file.name}, line {number} is not JSON: {error}") from error
        return rows


def check_file(name: str, file: Path, columns: list[str]) -> dict[str, Any]:
    """Raise UserError unless the file can be read and its rows have the columns."""
    if not file.is_file():
        raise UserError(f"{name}: there is no file {file}.")
    if file.suffix.lower() not in FORMATS:
        raise UserError(
            f"{name}: {file.name} has a format that is not supported; use {', '.join(FORMATS)}."
        )
    try:
        rows = first_rows(file)
    except ValueError as error:
        raise UserError(f"{name}: {file.name} cannot be read: {error}") from error
    rows = [row for row in rows if row]
    if not rows:
        raise UserError(f"{name}: {file.name} has no rows.")
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{name}: every row of {file.name} must be an object with named columns.")
    found = {column for row in rows for column in row}
    if missing := [column for column in columns if column not in found]:
        raise UserError(
            f"{name}: {file.name} has no column {', '.join(missing)}; "
            f"its columns: {', '.join(sorted(found))}."
        )
    return {"file": file.name, "bytes": file.stat().st_size, "columns": sorted(found)}


def main() -> None:
    a = parse_arguments()
    checked = check_parameters(a)
    info: dict[str, Any] = {"status": "Passed", "task_name": a.task_name, "parameters": checked}
    if a.train_file_path is None and a.train_mltable_path is None:
        raise UserError("train_file_path or train_mltable_path need to be passed.")
    if a.mlflow_model_path:
        info["model"] = check_model(a.mlflow_model_path)
    columns = [c.strip() for c in (a.user_column_names or "").split(",") if c.strip()]
    info["data"] = {}
    for split in ("train", "validation", "test"):
        table, file = getattr(a, f"{split}_mltable_path"), getattr(a, f"{split}_file_path")
        if table is not None:
            if not (table / "MLTable").is_file():
                raise UserError(f"{split}_mltable_path: there is no MLTable file in {table}.")
            info["data"][split] = {"mltable": table.name}
        elif file is not None:
            info["data"][split] = check_file(f"{split}_file_path", file, columns)
    a.validation_info.parent.mkdir(parents=True, exist_ok=True)
    a.validation_info.write_text(json.dumps(info, indent=2) + "\n")
    for split, facts in info["data"].items():
        print(f"{split}: {facts}")
    print(f"Validation passed: {len(checked)} parameters, {len(info['data'])} data inputs.")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"UserError: {error}")
