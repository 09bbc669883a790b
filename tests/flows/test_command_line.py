from pathlib import Path

import pytest

from flows.command_line import UsageError, read_settings
from flows.finetune_command import SWITCHES, finetune_parser, main
from tasks.config import FinetuneConfig


def config(*arguments: str) -> FinetuneConfig:
    options = finetune_parser().parse_args(arguments)
    on = [setting for option, setting, _ in SWITCHES if getattr(options, option)]
    return read_settings(options, FinetuneConfig, on)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("model: {name: Phi-4}\nparameters: {num_train_epochs: 3}\nattempt: 2\n")
    return path


def test_without_options_the_defaults_hold() -> None:
    assert config() == FinetuneConfig()


def test_the_file_is_read_and_options_win_over_it(file: Path) -> None:
    chosen = config(
        "--config",
        str(file),
        "--set",
        "parameters.num_train_epochs=1",
        "--set",
        "dataset.percent=2.5",
        "--set",
        "model.version='3'",
        "--accept-retired",
        "--keep-endpoint",
        "--plan-only",
    )
    assert chosen.model.name == "Phi-4"
    assert chosen.model.version == "3"
    assert chosen.model.accept_retired
    assert chosen.parameters == {"num_train_epochs": 1}
    assert chosen.dataset.percent == 2.5
    assert chosen.serving.keep_endpoint
    assert chosen.plan_only
    assert chosen.attempt == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "attempt"], "--set takes KEY=VALUE"),
        (["--set", "attempt=0"], "attempt: .* (given: 0)"),
        (["--set", "modle.name=x"], "modle: there is no such setting"),
        (["--set", "attempt=1", "--set", "attempt.x=1"], "has no settings below it"),
        (["--set", "attempt=[1"], "is not YAML"),
        (["--config", "missing.yaml"], "missing.yaml cannot be read: No such file"),
    ],
)
def test_wrong_usage_is_told_in_one_sentence_and_exits_2(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words.replace("(given: 0)", r"\(given: 0\)")):
        config(*arguments)
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("text", ["[1, 2]", "{", "just words"])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        config("--config", str(path))


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert config("--config", str(path)) == FinetuneConfig()


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"model: \xff\xfe")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        config("--config", str(path))


def test_a_home_folder_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path / "file" / "home"))
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: The folder {tmp_path}/file/home")
    assert "FINETUNE_HOME" in shown
    assert shown.count("\n") == 1
