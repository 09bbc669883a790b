"""The fine-tuning steps, run as the pipeline runs them: processes that hand folders on."""

import csv
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.registry import ASSETS, Registry
from tests.emulator.steps import Steps, conversation, run_step, write_rows

COMMANDS = [
    spec
    for spec in (yaml.safe_load(f.read_text()) for f in ASSETS.glob("components/*/component.yaml"))
    if spec["type"] == "command"
]
STEPS = [spec["name"] for spec in COMMANDS]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """The folders of one chain of steps, the base model already imported."""
    steps = Steps(tmp_path_factory.mktemp("steps"))
    steps.import_model(steps.imported)
    return steps


@pytest.mark.parametrize("name", STEPS)
def test_a_script_takes_exactly_what_its_component_declares(name: str) -> None:
    spec = Registry().component(name)
    result = run_step(name, "--help")
    taken = set(re.findall(r"^\s+--(\w+)", result.stdout, re.MULTILINE))
    assert taken == spec["inputs"].keys() | spec["outputs"].keys()


@pytest.mark.parametrize("name", STEPS)
def test_a_wrong_argument_is_one_clear_line(name: str) -> None:
    result = run_step(name, "--nonsense", "1")
    assert result.returncode == 1
    assert re.fullmatch(r"UserError: .*(nonsense|required).*\n", result.stderr)


class TestValidation:
    @pytest.fixture
    def train(self, tmp_path: Path) -> Path:
        return write_rows(tmp_path / "train.jsonl", [conversation(i) for i in range(12)])

    def run(self, tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        info = tmp_path / "out" / "info.json"
        return run_step(
            "ft_nlp_common_validation",
            *("--user_column_names", "messages", "--validation_info", str(info)),
            *arguments,
        )

    def test_says_what_it_checked(self, tmp_path: Path, train: Path) -> None:
        result = self.run(tmp_path, "--train_file_path", str(train), "--learning_rate", "5e-6")
        assert result.returncode == 0, result.stderr
        info = json.loads((tmp_path / "out" / "info.json").read_text())
        assert info["status"] == "Passed"
        assert info["data"]["train"]["file"] == "train.jsonl"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--learning_rate", "0"], "learning_rate is 0; it must be greater than 0"),
            (["--learning_rate", "abc"], "learning_rate: invalid float value: 'abc'"),
            (["--num_train_epochs", "0"], "num_train_epochs is 0; it must be 1 or more"),
            (["--precision", "8"], "precision: invalid choice: '8'"),
            (["--deepspeed_stage", "4"], "deepspeed_stage: invalid choice: '4'"),
            (["--adam_beta1", "1"], "adam_beta1 is 1; it must be at least 0 and less than 1"),
            (["--max_seq_length", "0"], "max_seq_length is 0; it must be -1 or 1 and more"),
            (
                ["--apply_deepspeed", "true", "--auto_find_batch_size", "true"],
                "cannot both be true",
            ),
            (["--validation_file_path", "/nowhere/v.jsonl"], "there is no file /nowhere/v.jsonl"),
        ],
    )
    def test_refuses(self, tmp_path: Path, train: Path, arguments: list[str], message: str) -> None:
        result = self.run(tmp_path, "--train_file_path", str(train), *arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1

    def test_needs_training_data(self, tmp_path: Path) -> None:
        result = self.run(tmp_path)
        assert "train_file_path or train_mltable_path need to be passed" in result.stderr

    def test_needs_the_column(self, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "t.jsonl", [{"prompt": "a"}])
        result = self.run(tmp_path, "--train_file_path", str(file))
        assert "t.jsonl has no column messages; its columns: prompt" in result.stderr

    def test_needs_a_model(self, tmp_path: Path, train: Path) -> None:
        arguments = ["--train_file_path", str(train), "--mlflow_model_path", str(tmp_path)]
        result = self.run(tmp_path, *arguments)
        assert "neither an MLmodel file nor a Hugging Face config.json" in result.stderr


class TestPreprocessing:
    @pytest.fixture
    def run(self, steps: Steps, tmp_path: Path) -> Any:
        def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
            return run_step(
                "chat_completion_datapreprocess",
                *("--model_selector_output", str(steps.imported)),
                *("--output_dir", str(tmp_path / "out")),
                *arguments,
            )

        return run

    def summary(self, tmp_path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((tmp_path / "out" / "summary.json").read_text())
        return found

    def test_every_row_is_used_or_counted(self, run: Any, tmp_path: Path) -> None:
        rows = [conversation(i) for i in range(20)]
        rows += [{"messages": []}, {"messages": None}, {"messages": rows[0]["messages"][:1]}, {}]
        file = write_rows(tmp_path / "train.jsonl", rows)
        file.write_text(file.read_text() + "\n")
        test = write_rows(tmp_path / "test.jsonl", [conversation(i) for i in range(3)])
        result = run("--train_file_path", str(file), "--test_file_path", str(test))
        assert result.returncode == 0, result.stderr
        summary = self.summary(tmp_path)
        used = {split: counts["rows"] for split, counts in summary["rows"].items()}
        assert used == {"train": 16, "validation": 4, "test": 3}
        assert summary["dropped"]["train"] == {
            "no messages": 3,
            "only one message": 1,
            "blank row": 1,
        }

    def test_without_a_test_file_a_tenth_goes_to_each(self, run: Any, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "train.jsonl", [conversation(i) for i in range(30)])
        assert run("--train_file_path", str(file)).returncode == 0
        used = {k: v["rows"] for k, v in self.summary(tmp_path)["rows"].items()}
        assert used == {"train": 24, "validation": 3, "test": 3}

    def test_only_the_assistant_is_learned(self, run: Any, tmp_path: Path) -> None:
        from transformers import PreTrainedTokenizerFast

        rows = [conversation(i, turns=2) for i in range(12)]
        file = write_rows(tmp_path / "train.jsonl", rows)
        test = write_rows(tmp_path / "test.jsonl", [rows[0]])
        assert run("--train_file_path", str(file), "--test_file_path", str(test)).returncode == 0
        tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out" / "tokenizer")
        row = json.loads((tmp_path / "out" / "test.jsonl").read_text())
        learned = [tokenizer.decode(row["input_ids"][a:b]) for a, b in row["assistant"]]
        spoken = [m["content"] for m in rows[0]["messages"] if m["role"] == "assistant"]
        assert len(learned) == len(spoken) == 2
        for tokens, text in zip(learned, spoken, strict=True):
            assert tokens.startswith(text)
            assert "<|user|>" not in tokens
            assert "<|end|>" in tokens.removeprefix(text)

    def test_rows_are_cut(self, run: Any, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "train.jsonl", [conversation(i, turns=4) for i in range(12)])
        assert run("--train_file_path", str(file), "--max_seq_length", "24").returncode == 0
        lines = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
        assert {len(json.loads(line)["input_ids"]) for line in lines} == {24}

    def test_a_length_that_cuts_every_reply_is_refused(self, run: Any, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "train.jsonl", [conversation(i) for i in range(12)])
        result = run("--train_file_path", str(file), "--max_seq_length", "3")
        assert result.returncode == 1
        assert "No assistant tokens found" in result.stderr

    def test_ten_rows_are_needed(self, run: Any, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "train.jsonl", [conversation(i) for i in range(9)])
        result = run("--train_file_path", str(file))
        assert "has 9 non-null samples, which is fewer than 10 samples" in result.stderr

    def test_no_usable_rows_says_why(self, run: Any, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "train.jsonl", [{"messages": []}] * 4)
        result = run("--train_file_path", str(file))
        assert "Found no examples after data preprocessing for train" in result.stderr
        assert "4 rows: no messages" in result.stderr

    @pytest.mark.parametrize(
        ("messages", "message"),
        [
            ([{"role": "user"}, {"role": "assistant", "content": "b"}], "train row 1"),
            (["a", "b"], "train row 1"),
            ("not json", "messages is not JSON"),
            (7, "messages is not a list"),
        ],
    )
    def test_malformed_messages_are_named(
        self, run: Any, tmp_path: Path, messages: Any, message: str
    ) -> None:
        file = write_rows(tmp_path / "train.jsonl", [{"messages": messages}])
        result = run("--train_file_path", str(file))
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    def test_a_broken_line_is_named(self, run: Any, tmp_path: Path) -> None:
        file = write_rows(tmp_path / "train.jsonl", [conversation(0)])
        file.write_text(file.read_text() + "{broken\n")
        assert "train.jsonl, line 2 is not JSON" in run("--train_file_path", str(file)).stderr

    @pytest.mark.parametrize("kind", ["json", "csv", "tsv", "parquet", "mltable"])
    def test_reads(self, run: Any, tmp_path: Path, kind: str) -> None:
        rows = [conversation(i) for i in range(20)]
        file = tmp_path / f"train.{kind}"
        option = "--train_file_path"
        if kind == "json":
            file.write_text(json.dumps(rows))
        elif kind == "parquet":
            import pyarrow
            from pyarrow.parquet import write_table

            write_table(pyarrow.Table.from_pylist(rows), file)
        elif kind == "mltable":
            option, file = "--train_mltable_path", tmp_path / "table"
            file.mkdir()
            write_rows(file / "rows.jsonl", rows)
            (file / "MLTable").write_text("paths:\n  - file: ./rows.jsonl\n")
        else:
            with file.open("w", newline="") as lines:
                writer = csv.writer(lines, delimiter="," if kind == "csv" else "\t")
                writer.writerow(["messages"])
                writer.writerows([json.dumps(row["messages"])] for row in rows)
        result = run(option, str(file))
        assert result.returncode == 0, result.stderr
        assert self.summary(tmp_path)["rows"]["train"]["rows"] == 16

    def test_a_model_without_a_system_role_gets_it_in_the_first_message(
        self, run: Any, steps: Steps, tmp_path: Path
    ) -> None:
        config = tmp_path / "finetune_config.json"
        config.write_text('{"system_role_supported": "false"}')
        imported = tmp_path / "imported"
        steps.import_model(imported, "--finetune_config_path", str(config))
        rows = [conversation(i) for i in range(12)]
        for row in rows:
            row["messages"].insert(0, {"role": "system", "content": "Be brief."})
        file = write_rows(tmp_path / "train.jsonl", rows)
        result = run("--train_file_path", str(file), "--model_selector_output", str(imported))
        assert result.returncode == 0, result.stderr
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out" / "tokenizer")
        line = (tmp_path / "out" / "train.jsonl").read_text().splitlines()[0]
        text = tokenizer.decode(json.loads(line)["input_ids"])
        assert "<|system|>" not in text
        assert text.index("Be brief.") > text.index("<|user|>")


def test_a_folder_without_a_model_cannot_be_imported(tmp_path: Path) -> None:
    arguments = ("--mlflow_model_path", str(tmp_path), "--output_dir", str(tmp_path / "out"))
    result = run_step("chat_completion_model_import", *arguments)
    assert result.returncode == 1
    assert "holds no Hugging Face model" in result.stderr
