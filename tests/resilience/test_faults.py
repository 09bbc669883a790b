"""Every write of the chain with every fault: success or a classified error, nothing twice.

The outcomes are written down in docs/resilience.md; UPDATE_DOCS=1 writes them anew.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rig import Rig
from tasks.explaining import explain
from tests.resilience.exhaustive import EXHAUSTIVE
from tests.resilience.stages import Stages, in_a_flow

STORAGE_RETRY = "azure.storage.blob._shared.policies.ExponentialRetry"
DOCS = Path(__file__).parents[2] / "docs" / "resilience.md"
BEGIN, END = "<!-- outcomes: begin -->\n", "<!-- outcomes: end -->\n"

FAULTS: dict[str, dict[str, Any]] = {
    "429, Retry-After": {"status": 429, "headers": {"Retry-After": "1"}},
    "500 once": {"status": 500},
    "503 for ever": {"status": 503, "times": None},
    "reset before": {"reset": "before"},
    "reset after": {"reset": "after"},
    "broken body": {"body": "broken"},
    "token expires": {"token": "revoked"},
}
LONG_RUNNING: dict[str, dict[str, Any]] = {
    "operation fails": {
        "operation_result": {"status": "Failed", "code": "InternalError", "message": "It broke."}
    },
    "operation never ends": {"operation_result": "never"},
}


@dataclass(frozen=True)
class Write:
    """One writing request of the chain, by its stage. `number`: the how manieth of its kind."""

    title: str
    stage: str
    operation: str
    number: int = 1
    is_long_running: bool = False


WRITES = (
    Write("create the cluster", "compute", "Compute_CreateOrUpdate", is_long_running=True),
    Write("upload the training data", "job", "BlockBlob_Upload"),
    Write("mark the data as complete", "job", "Blob_SetMetadata"),
    Write("upload the test data", "job", "BlockBlob_Upload", number=2),
    Write("submit the job", "job", "Jobs_CreateOrUpdate"),
    Write("register the model", "model", "ModelVersions_CreateOrUpdate"),
    Write("create the endpoint", "deploy", "OnlineEndpoints_CreateOrUpdate", is_long_running=True),
    Write("deploy", "deploy", "OnlineDeployments_CreateOrUpdate", is_long_running=True),
    Write("send traffic", "deploy", "OnlineEndpoints_CreateOrUpdate", 2, is_long_running=True),
    Write("delete the endpoint", "tear down", "OnlineEndpoints_Delete", is_long_running=True),
    Write("remember the plan", "remember", "BlockBlob_Upload"),
)
ALL_CASES = [
    (write, fault)
    for write in WRITES
    for fault in (FAULTS | (LONG_RUNNING if write.is_long_running else {}))
]
# Every paid write whose answer is lost, and the job with all that could make two of it.
SOME_CASES = [
    (write, "reset after") for write in WRITES if not write.operation.startswith("Blo")
] + [
    (write, fault)
    for write in WRITES
    if write.operation == "Jobs_CreateOrUpdate"
    for fault in FAULTS
    if fault != "503 for ever"  # half a minute of waiting
]
CASES = ALL_CASES if EXHAUSTIVE else list(dict.fromkeys(SOME_CASES))
outcomes: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def stages(
    cloud: Rig, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stages]:
    from blocks.azureml import AzureMLWorkspace
    from tasks.clients import forget_clients

    folder = tmp_path_factory.mktemp("stages")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.fleet.environment.items():
            patch.setenv(name, value)
        patch.setenv("FINETUNE_HOME", str(folder / "home"))
        # The storage SDK waits 15 seconds and more before it tries again; it tries as often.
        patch.setattr(f"{STORAGE_RETRY}.get_backoff_time", lambda *_: 0.2)
        AzureMLWorkspace().save("faults", overwrite=True, _sync=True)  # type: ignore[call-arg]
        forget_clients()
        yield Stages("faults", folder)
    forget_clients()


@pytest.mark.parametrize(("write", "fault"), CASES, ids=[f"{w.title}: {f}" for w, f in CASES])
def test_a_fault_ends_in_success_or_a_classified_error(
    stages: Stages, cloud: Rig, write: Write, fault: str
) -> None:
    made = stages.fresh()
    stages.prepare(write.stage, made)
    if write.stage == "job":
        cloud.control.transition("jobs", mode="manual")  # it is submitted, and need not run
    options = (FAULTS | LONG_RUNNING)[fault]
    with cloud.control.fault(write.operation, after=write.number - 1, **options) as handle:
        outcome = run_stage(stages, write, made)
        assert handle.refresh().fired >= 1
    left = stages.left(made)
    assert all(number <= 1 for number in left.values()), f"something is there twice: {left}"
    stages.clean(made)
    assert stages.left(made)["endpoints"] == 0
    outcomes[write.title, fault] = outcome


def run_stage(stages: Stages, write: Write, made: Any) -> str:
    """What became of it, in a word: success, or the kind of the error."""
    try:
        in_a_flow(stages.stage(write.stage, made))
    except Exception as error:
        clear = explain(error, write.title)
        if clear is None:
            raise
        return str(clear.kind)
    return "success"


def table() -> str:
    """The outcomes as Markdown: a row for each write, a column for each fault."""
    columns = [*FAULTS, *LONG_RUNNING]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for write in WRITES:
        cells = [outcomes.get((write.title, fault), "-") for fault in columns]
        lines.append("| " + " | ".join([write.title, *cells]) + " |")
    return "\n".join(lines) + "\n"


def test_the_documented_outcomes_are_these() -> None:
    if len(outcomes) < len(ALL_CASES):
        pytest.skip("only some of the cases were run")
    text = DOCS.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    current = f"{before}{BEGIN}{table()}{END}{after}"
    if os.environ.get("UPDATE_DOCS"):
        DOCS.write_text(current, encoding="utf-8")
    assert text == current or os.environ.get("UPDATE_DOCS"), (
        f"{DOCS} is not up to date: run this file with UPDATE_DOCS=1"
    )
