"""Measuring registered models: a job each, adopted when it is there, told when it fails."""

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from emulator.registry import Registry
from tasks.clients import workspace_client
from tasks.comparison import compare
from tasks.errors import JobFailed
from tasks.evaluation import Evaluation, Scores, evaluate_models, evaluation_key
from tasks.retrain_config import EvaluationChoice
from tasks.values import RegisteredModel, SplitFile

TALK = [
    {"role": "user", "content": "How are you?"},
    {"role": "assistant", "content": "I am fine, thank you."},
]
CHOICE = EvaluationChoice(rows=4, replies=1, max_new_tokens=4, max_length=64)


@pytest.fixture
def how(tmp_path: Path) -> Evaluation:
    """Four conversations that no other test has."""
    file, salt = tmp_path / "rows.jsonl", uuid.uuid4().hex
    rows = [{"messages": [*TALK, {"role": "user", "content": f"{salt} {n}"}]} for n in range(4)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(text)
    split = SplitFile(
        split="test",
        path=str(file),
        rows=4,
        rows_read=4,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        bytes=len(text),
    )
    return Evaluation(
        rows=split,
        choice=CHOICE,
        cluster="local",
        experiment="evaluations",
        flow_run_id=str(uuid.uuid4()),
        poll_seconds=0.2,
    )


def register(workspace: str, folder: Path) -> RegisteredModel:
    from azure.ai.ml.entities import Model

    name = f"m-{uuid.uuid4().hex[:8]}"
    model = Model(name=name, version="1", path=str(folder), type="mlflow_model")
    made: Any = workspace_client(workspace).models.create_or_update(model)
    return RegisteredModel(id=str(made.id), name=name, version="1")


@flow
def evaluating(workspace: str, models: list[RegisteredModel], how: Evaluation) -> list[Scores]:
    return evaluate_models(workspace, models, how)


def jobs(workspace: str, model: RegisteredModel, how: Evaluation) -> list[str]:
    key = evaluation_key(model, how)
    found = workspace_client(workspace).jobs.list()
    return sorted(str(job.name) for job in found if str(job.name).startswith(f"ev-{key}"))


def test_a_model_is_measured_once(workspace: str, how: Evaluation) -> None:
    model = register(workspace, Registry().model_folder("Phi-3-mini-4k-instruct"))
    (first,) = evaluating(workspace, [model], how)
    assert first.rows == 4
    assert 1 < first.loss < 12
    assert first.rouge_l is not None
    assert first.replies[0].expected == TALK[1]["content"]
    assert first.rows_sha256 == how.rows.sha256
    assert evaluating(workspace, [model], how) == [first]
    assert len(jobs(workspace, model, how)) == 1
    (job,) = jobs(workspace, model, how)
    assert workspace_client(workspace).jobs.get(job).tags["flow_run_id"] == how.flow_run_id


def test_a_folder_without_a_model_fails_with_the_jobs_own_words(
    workspace: str, how: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "MLmodel").write_text("flavors:\n")
    model = register(workspace, tmp_path / "empty")
    good = register(workspace, Registry().model_folder("Phi-3-mini-4k-instruct"))
    with pytest.raises(JobFailed, match="holds no transformers model"):
        evaluating(workspace, [model, good], how)
    (other,) = jobs(workspace, good, how)
    assert workspace_client(workspace).jobs.get(other).status == "Completed"
    with pytest.raises(JobFailed, match="holds no transformers model"):  # the same failed job
        evaluating(workspace, [model], how)
    assert len(jobs(workspace, model, how)) == 1


def test_a_model_with_spoilt_weights_is_the_worse_one(
    workspace: str, how: Evaluation, tmp_path: Path
) -> None:
    base = Registry().model_folder("Phi-3-mini-4k-instruct")
    champion = register(workspace, base)
    challenger = register(workspace, spoilt(base, tmp_path / "spoilt"))
    before, after = evaluating(workspace, [champion, challenger], how)
    assert [before.model, after.model] == [str(champion), str(challenger)]
    assert before.tokens == after.tokens
    assert not compare(before, after, how.choice).better
    assert compare(after, before, how.choice.model_copy(update={"most_rouge_lost": 1.0})).better


def spoilt(base: Path, folder: Path) -> Path:
    """A copy of the model whose weights have noise of their own size on them."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    (file,) = folder.rglob("*.safetensors")
    torch.manual_seed(0)
    weights = {
        name: weight + torch.randn_like(weight) * weight.abs().mean()
        for name, weight in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "change", [{"rows": 3}, {"replies": 0}, {"max_new_tokens": 5}, {"max_length": 32}]
)
def test_another_way_of_measuring_is_another_job(how: Evaluation, change: dict[str, int]) -> None:
    model = RegisteredModel(id="", name="m", version="1")
    other = how.model_copy(update={"choice": how.choice.model_copy(update=change)})
    assert evaluation_key(model, other) != evaluation_key(model, how)
    same = how.model_copy(update={"flow_run_id": "another", "cluster": "another"})
    assert evaluation_key(model, same) == evaluation_key(model, how)
