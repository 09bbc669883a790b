"""How well registered models do on held-out rows: one Azure ML job each, never the same one twice.

The job's name follows from the model, the rows and the way of measuring, so that a champion that
was measured on these rows before is not measured again.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from prefect import task
from pydantic import BaseModel, ConfigDict

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, workspace_client
from tasks.config import Deadlines
from tasks.errors import ErrorKind, JobFailed, UserError
from tasks.following import follow_job
from tasks.job import find_job, job_phase
from tasks.job_failure import examine
from tasks.ownership import EXPIRES, FLOW_RUN, RUN_KEY
from tasks.polling import status_word
from tasks.retrain_config import EvaluationChoice
from tasks.submission import check_may_repeat, job_reference
from tasks.values import JobRef, Phase, RegisteredModel, SplitFile

CODE = Path(__file__).parent / "evaluation_job"
_KEY_LENGTH = 12
_OUTPUT = "scores"
_FILE = "scores.json"
_MOST_FAILURES = 2


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class HeldOutReply(_Value):
    """What a model says to a held-out conversation, beside what the data has."""

    asked: str
    expected: str
    reply: str
    rouge_l: float


class Scores(_Value):
    """How one model does. `loss` is in nats a token, `rouge_l` from 0 to 1."""

    model: str
    """Name and version, with a colon between them."""
    job: str
    rows_sha256: str
    """Of the file with the rows: scores of other rows cannot be compared."""
    loss: float
    perplexity: float | None
    """None where it is too large for a number."""
    rouge_l: float | None = None
    rows: int
    tokens: int
    characters: int
    """Of the text that was scored."""
    replies: tuple[HeldOutReply, ...] = ()

    @property
    def loss_per_character(self) -> float:
        """In nats: the same measure for models with different tokens."""
        return self.loss * self.tokens / max(1, self.characters)


class Evaluation(_Value):
    """Where and how models are measured, and for which run."""

    rows: SplitFile
    choice: EvaluationChoice
    cluster: str
    experiment: str
    flow_run_id: str
    poll_seconds: float


def evaluate_models(
    workspace: str, models: Sequence[RegisteredModel], how: Evaluation
) -> list[Scores]:
    """Measure every model; the jobs run at the same time. Call it inside a flow.

    Every job is followed to its end, so that none runs on unseen. After that the first error is
    raised: JobFailed with a job's own error, DeadlineExceeded for one that was late and cancelled.

    A job reads and writes the workspace's default datastore through the workspace; its cluster
    needs no identity of its own.
    """
    jobs = [submit_evaluation(workspace, model, how) for model in models]
    scores: list[Scores] = []
    errors: list[UserError] = []
    for model, job in zip(models, jobs, strict=True):
        try:
            scores.append(_finish(workspace, model, job, how))
        except UserError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return scores


def _finish(workspace: str, model: RegisteredModel, job: JobRef, how: Evaluation) -> Scores:
    minutes = how.choice.minutes
    deadlines = Deadlines(queue=minutes, run=minutes)
    while True:
        try:
            follow_job(workspace, job, deadlines, how.poll_seconds)
        except JobFailed as error:
            if error.kind is not ErrorKind.TRANSIENT:
                raise
            run_logger().warning("%s", error.message)
            job = submit_evaluation(workspace, model, how)  # counts the failures itself
        else:
            return read_scores(workspace, model, job.name, how.rows)


def evaluation_key(model: RegisteredModel, how: Evaluation) -> str:
    """12 hex digits that stand for the model, the rows and the way of measuring."""
    choice = how.choice
    identity = {
        "model": f"{model.name}:{model.version}",
        "rows": how.rows.sha256,
        "count": choice.rows,
        "replies": choice.replies,
        "max_new_tokens": choice.max_new_tokens,
        "max_length": choice.max_length,
        "code": hashlib.sha256((CODE / "evaluate.py").read_bytes()).hexdigest(),
    }
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]


@task(
    name="submit the evaluation",
    task_run_name="evaluate {model.name}:{model.version}",
    **REMOTE,
)
def submit_evaluation(workspace: str, model: RegisteredModel, how: Evaluation) -> JobRef:
    """The job that measures the model: the one that is there already, or a new one.

    A cancelled one is passed over, and a failed one whose failure is likely to pass.
    """
    from azure.core.exceptions import HttpResponseError

    client, key, failed = workspace_client(workspace), evaluation_key(model, how), 0
    for attempt in count(1):
        name = f"ev-{key}-{attempt}"
        job = find_job(client, name)
        phase = Phase.MISSING if job is None else job_phase(job.status)
        if phase is Phase.FAILED:
            failed += 1
            _check_may_repeat(workspace, name, attempt, failed)
        elif phase is not Phase.CANCELLED:
            break
    if job is not None:
        run_logger().info("Job %s is there already (%s): adopted.", name, status_word(job.status))
        return job_reference(job, adopted=True)
    with explained(f"Submitting job {name}"):
        try:
            job = client.jobs.create_or_update(_job(name, key, model, how))
        except HttpResponseError as error:
            # Someone else's just now, or this one's, whose answer was lost.
            if error.status_code != 409 or (job := find_job(client, name)) is None:
                raise
            return job_reference(job, adopted=True)
    run_logger().info("Job %s measures %s:%s.", name, model.name, model.version)
    return job_reference(job, adopted=False)


def _check_may_repeat(workspace: str, name: str, attempt: int, failed: int) -> None:
    failure = examine(workspace, name)
    try:
        check_may_repeat(name, failure, attempt, failed, _MOST_FAILURES)
    except JobFailed as error:
        # Its advice is about the training's settings; another measurement has another name.
        advice = f"{failure.advice} Or delete the job, or change `evaluation`, and run again."
        raise JobFailed(error.message, advice, error.kind) from None


def _job(name: str, key: str, model: RegisteredModel, how: Evaluation) -> Any:
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.constants import AssetTypes

    choice = how.choice
    expires = datetime.now(UTC) + timedelta(minutes=2 * choice.minutes)
    return command(
        name=name,
        display_name=f"evaluate {model.name}:{model.version}",
        experiment_name=how.experiment,
        code=str(CODE),
        command="python evaluate.py --model ${{inputs.model}} --rows ${{inputs.rows}} "
        f"--out ${{{{outputs.{_OUTPUT}}}}} --count {choice.rows} --replies {choice.replies} "
        f"--max-new-tokens {choice.max_new_tokens} --max-length {choice.max_length}",
        environment=choice.environment,
        compute=how.cluster,
        inputs={
            "model": Input(
                type=AssetTypes.MLFLOW_MODEL, path=f"azureml:{model.name}:{model.version}"
            ),
            "rows": Input(type=AssetTypes.URI_FILE, path=how.rows.path),
        },
        outputs={_OUTPUT: Output(type=AssetTypes.URI_FOLDER)},
        tags={
            RUN_KEY: key,
            FLOW_RUN: how.flow_run_id,
            EXPIRES: expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    )


@task(name="read the scores", task_run_name="read the scores of {job}", **REMOTE)
def read_scores(workspace: str, model: RegisteredModel, job: str, rows: SplitFile) -> Scores:
    """What the job has measured. Raises JobFailed when its output cannot be read."""
    client = workspace_client(workspace)
    with tempfile.TemporaryDirectory() as folder, explained(f"Reading the scores of job {job}"):
        client.jobs.download(job, download_path=folder, output_name=_OUTPUT)
        file = Path(folder) / "named-outputs" / _OUTPUT / _FILE
        if not file.is_file():
            raise JobFailed(
                f"Job {job} has ended without {_FILE} in its output {_OUTPUT}.",
                "Look at its log in the studio.",
            )
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    scores = Scores(model=f"{model.name}:{model.version}", job=job, rows_sha256=rows.sha256, **told)
    rouge = "" if scores.rouge_l is None else f", ROUGE-L {scores.rouge_l:.3f}"
    run_logger().info("%s: loss %.4f%s", scores.model, scores.loss, rouge)
    return scores
