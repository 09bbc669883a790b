"""The local fine-tuning step against a plain transformers Trainer loop, on the same tokens.

    python -m benchmarks.trainer [--rounds 2]

The step runs as a job runs it: its own script, a process of its own, the parameters of
deployments/local.yaml over the model's defaults. The plain loop is what one writes by hand: peft,
a Trainer, transformers' own collator padding to the longest row. Both read the same tokenized rows
of the sample, have one thread and the same seed, evaluate and save after every epoch, and take
turns. Nothing listens to their metrics. Results go to .local/bench/trainer.json too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from emulator.registry import Registry

RESULTS = Path(".local/bench/trainer.json")
PROFILE = Path("deployments/local.yaml")
SAMPLE = Path("emulator/hub_assets/datasets/HuggingFaceH4/ultrachat_200k/data")
SCRIPTS = {
    "chat_completion_model_import": "model_import.py",
    "chat_completion_datapreprocess": "preprocess.py",
    "chat_completion_finetune": "finetune.py",
}
SAME_LOSS = 1e-3
"""The most that two losses may differ. The order of the data is the same, that of sums is not."""

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """`seconds`: of the training loop with its evaluations; `wall`: of the whole process."""

    seconds: float
    wall: float
    tokens_per_second: float
    loss_before: float
    loss_after: float
    train_loss: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain, parameters())
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = measure(Path(folder), options.rounds)
    show(runs)


def parameters() -> Parameters:
    """What a run with the local profile hands to the pipeline."""
    profile = yaml.safe_load(PROFILE.read_text())
    model = Registry().model(profile["model"]["name"])
    defaults = model["tags"]["model_specific_defaults"]
    return {**defaults, **profile["parameters"]}


def measure(folder: Path, rounds: int) -> dict[str, list[Run]]:
    tokens = prepare(folder)
    step = [_script("chat_completion_finetune"), *_given("chat_completion_finetune", parameters())]
    step += ["--preprocess_output", f"{folder}/tokens", "--model_selector_output", f"{folder}/base"]
    runs: dict[str, list[Run]] = {"step": [], "plain": []}
    for number in range(rounds):
        for name in ("step", "plain") if number % 2 == 0 else ("plain", "step"):
            target = folder / f"{name}-{number}"
            arguments = (
                [*step, "--pytorch_model_folder", str(target)]
                if name == "step"
                else ["-m", "benchmarks.trainer", "--plain", str(target)]
            )
            wall = _run(arguments)
            runs[name].append(_read(target / "training.json", tokens, wall))
    return runs


def prepare(folder: Path) -> int:
    """Import the base model and tokenize the sample; the tokens that a training sees in all."""
    import pyarrow.parquet

    profile = yaml.safe_load(PROFILE.read_text())
    for split in ("train_sft", "test_sft"):
        table = pyarrow.parquet.read_table(SAMPLE / f"{split}-00000-of-00001.parquet")
        rows = table.slice(0, round(len(table) * profile["dataset"]["percent"] / 100)).to_pylist()
        lines = (json.dumps({"messages": row["messages"]}) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text("".join(lines))
    base = Registry().model_folder(profile["model"]["name"])
    name = "chat_completion_model_import"
    _run([_script(name), "--mlflow_model_path", str(base), "--output_dir", f"{folder}/base"])
    name = "chat_completion_datapreprocess"
    places = [
        *("--train_file_path", f"{folder}/train_sft.jsonl"),
        *("--test_file_path", f"{folder}/test_sft.jsonl"),
        *("--model_selector_output", f"{folder}/base", "--output_dir", f"{folder}/tokens"),
    ]
    _run([_script(name), *_given(name, parameters()), *places])
    summary = json.loads((folder / "tokens" / "summary.json").read_text())
    return int(summary["rows"]["train"]["tokens"]) * int(parameters()["num_train_epochs"])


def _script(component: str) -> str:
    return str(Registry().component_code(component) / SCRIPTS[component])  # type: ignore[operator]


def _given(component: str, values: Parameters) -> list[str]:
    """The values that this component takes, as arguments."""
    inputs = Registry().component(component)["inputs"]
    return [word for k, v in values.items() if k in inputs for word in (f"--{k}", str(v))]


def _run(arguments: Sequence[str]) -> float:
    """Seconds that a Python process took, with one thread for mathematics as steps have it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}\nended with {done.returncode}:\n{done.stderr}")
    return time.monotonic() - began


def _read(file: Path, tokens: int, wall: float) -> Run:
    facts = json.loads(file.read_text())
    seconds = facts["train_runtime"]
    return Run(
        seconds=round(seconds, 2),
        wall=round(wall, 2),
        tokens_per_second=round(tokens / seconds),
        loss_before=facts["eval_loss_before"],
        loss_after=facts["eval_loss"],
        train_loss=facts["train_loss"],
    )


def plain(target: Path, values: Parameters) -> None:
    """The loop that a person writes; `target` is a folder beside `base` and `tokens`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    torch.set_num_threads(1)
    tokens = target.parent / "tokens"
    tokenizer = AutoTokenizer.from_pretrained(tokens / "tokenizer")
    set_seed(42)
    model = AutoModelForCausalLM.from_pretrained(target.parent / "base/model", dtype=torch.float32)
    lora = LoraConfig(
        r=values["lora_r"],
        lora_alpha=values["lora_alpha"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    same = [
        *("num_train_epochs", "learning_rate", "lr_scheduler_type", "warmup_steps"),
        *("per_device_train_batch_size", "per_device_eval_batch_size", "save_total_limit"),
    ]
    trainer = Trainer(
        model=get_peft_model(model, lora),
        args=TrainingArguments(
            output_dir=str(target),
            **{name: values[name] for name in same},
            logging_steps=values["logging_steps"],
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            seed=42,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=_rows(tokens / "train.jsonl"),
        eval_dataset=_rows(tokens / "validation.jsonl"),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    before = trainer.evaluate()["eval_loss"]
    metrics = trainer.train().metrics
    after = trainer.evaluate()["eval_loss"]
    trainer.model.merge_and_unload().save_pretrained(target)
    facts = {"eval_loss_before": before, "eval_loss": after, **metrics}
    (target / "training.json").write_text(json.dumps(facts))


def _rows(file: Path) -> Any:
    from datasets import Dataset

    rows = []
    for line in file.read_text().splitlines():
        row = json.loads(line)
        labels = [-100] * len(row["input_ids"])
        for start, end in row["assistant"]:
            labels[start:end] = row["input_ids"][start:end]
        mask = [1] * len(labels)
        rows.append({"input_ids": row["input_ids"], "labels": labels, "attention_mask": mask})
    return Dataset.from_list(rows)


def show(runs: dict[str, list[Run]]) -> None:
    speed = {k: statistics.median(r.tokens_per_second for r in v) for k, v in runs.items()}
    ratio = speed["step"] / speed["plain"]
    names = ("loss_before", "loss_after", "train_loss")
    apart = max(
        abs(getattr(a, name) - getattr(b, name))
        for a in runs["step"]
        for b in runs["plain"]
        for name in names
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    results = {k: [asdict(run) for run in v] for k, v in runs.items()}
    facts = {"ratio": round(ratio, 2), "losses_apart": apart, "runs": results}
    RESULTS.write_text(json.dumps(facts, indent=2) + "\n")
    table = Table("", "tokens/s", "loop", "process", "loss before", "after", title="Fine-tuning")
    for name, found in runs.items():
        for run in found:
            losses = (f"{run.loss_before:.6f}", f"{run.loss_after:.6f}")
            times = (f"{run.seconds:.1f} s", f"{run.wall:.1f} s")
            table.add_row(name, f"{run.tokens_per_second:,}", *times, *losses)
    console = Console()
    console.print(table)
    console.print(f"The step is {ratio:.2f} times as fast a token (asked for: at least 1).")
    same = "the same" if apart <= SAME_LOSS else "NOT the same"
    console.print(f"Losses are {same}: at most {apart:.1e} apart (asked for: {SAME_LOSS:g}).")


if __name__ == "__main__":
    main()
