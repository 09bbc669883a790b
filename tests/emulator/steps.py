"""Running the fine-tuning steps as processes, on a model and data small enough for a test."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.registry import Registry

SCRIPTS = {
    "ft_nlp_common_validation": "validation.py",
    "chat_completion_model_import": "model_import.py",
    "chat_completion_datapreprocess": "preprocess.py",
    "chat_completion_finetune": "finetune.py",
    "ft_nlp_model_converter": "model_converter.py",
}
WORDS = ("the", "day", "is", "long", "and", "we", "walk", "home", "by", "river", "old", "house")


def run_step(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a component's script with arguments, in its own folder, as a job would."""
    folder = Registry().component_code(name)
    return subprocess.run(
        [sys.executable, SCRIPTS[name], *arguments],
        cwd=folder,
        env=dict(os.environ if environment is None else environment),
        capture_output=True,
        text=True,
        timeout=300,
    )


def conversation(seed: int, turns: int = 1) -> dict[str, Any]:
    """A row with a question and an answer a turn; the same seed gives the same words."""
    random_ = random.Random(seed)

    def sentence(length: int) -> str:
        return " ".join(random_.choice(WORDS) for _ in range(length)).capitalize() + "."

    messages = []
    for _ in range(turns):
        messages.append({"role": "user", "content": sentence(4)})
        messages.append({"role": "assistant", "content": sentence(6)})
    return {"messages": messages}


def write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def checked(result: "subprocess.CompletedProcess[str]") -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


@dataclass
class Steps:
    """The folders that the steps hand on, below one folder."""

    root: Path
    output: str = field(default="")

    @property
    def imported(self) -> Path:
        return self.root / "imported"

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed"

    @property
    def trained(self) -> Path:
        return self.root / "trained"

    @property
    def converted(self) -> Path:
        return self.root / "converted"

    def import_model(self, folder: Path, *more: str) -> None:
        model = Registry().model_folder("Phi-3-mini-4k-instruct")
        places = ("--mlflow_model_path", str(model), "--output_dir", str(folder))
        checked(run_step("chat_completion_model_import", *places, *more))

    def preprocess(self, environment: Mapping[str, str]) -> None:
        train = write_rows(self.root / "train.jsonl", [conversation(i, 2) for i in range(120)])
        test = write_rows(self.root / "test.jsonl", [conversation(-i - 1) for i in range(10)])
        checked(
            run_step(
                "chat_completion_datapreprocess",
                *("--train_file_path", str(train), "--test_file_path", str(test)),
                *("--model_selector_output", str(self.imported)),
                *("--output_dir", str(self.preprocessed)),
                environment=environment,
            )
        )

    def train(
        self,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        more: Iterable[str] = (),
    ) -> None:
        """Two epochs of LoRA on 96 conversations: 24 steps of 8."""
        parameters = {
            "apply_lora": "true",
            "lora_r": "16",
            "lora_alpha": "64",
            "num_train_epochs": "2",
            "per_device_train_batch_size": "8",
            "per_device_eval_batch_size": "8",
            "learning_rate": "0.002",
            "lr_scheduler_type": "cosine",
            "logging_steps": "10",
            "save_total_limit": "1",
            "apply_deepspeed": "true",
            "precision": "16",
            "preprocess_output": str(self.preprocessed),
            "model_selector_output": str(self.imported),
            "pytorch_model_folder": str(folder or self.trained),
        }
        words = [word for k, v in parameters.items() for word in (f"--{k}", v)]
        result = run_step("chat_completion_finetune", *words, *more, environment=environment)
        self.output = checked(result) if folder is None else self.output
        assert result.returncode == 0, result.stderr

    def convert(self, source: Path | None = None, folder: Path | None = None) -> None:
        checked(
            run_step(
                "ft_nlp_model_converter",
                *("--model_path", str(source or self.trained)),
                *("--mlflow_model_folder", str(folder or self.converted)),
            )
        )
