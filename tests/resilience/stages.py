"""The writing stages of the flow, each alone and in this process, and what they leave behind."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from emulator.registry import Registry
from tasks.claims import Claim
from tasks.clients import workspace_client
from tasks.compute import ensure_cluster
from tasks.config import ComputeChoice
from tasks.deployment import deploy_model
from tasks.drift import remember_plan
from tasks.endpoint import ensure_endpoint
from tasks.registration import register_model
from tasks.submission import submit_job
from tasks.teardown import tear_down
from tasks.values import Plan, RegisteredModel
from tests.tasks.job_support import end_of, with_key
from tests.tasks.test_job import plan

MINUTES = 0.05
"""The deadline of what never ends: 3 seconds."""

_JOB = "all-stages"
_WRITE_MODEL = "mkdir -p ${{outputs.trained_model}} && echo flavors: > ${{outputs.trained_model}}/M"


@dataclass
class Stages:
    """Runs one stage of a fresh training at a time."""

    workspace: str
    folder: Path
    base: RegisteredModel = field(init=False)
    model: str = field(init=False)

    def __post_init__(self) -> None:
        self.base = self._base_model()
        self._job_with_a_model()
        self.model = plan().names.model

    def fresh(self) -> Plan:
        """A plan under a run key of its own, with small files of its own."""
        key = uuid.uuid4().hex[:12]
        made = with_key(plan(compute={"cluster": f"c-{key}"}), key)
        deadlines = made.config.deadlines.model_copy(update={"deploy": MINUTES, "compute": MINUTES})
        config = made.config.model_copy(update={"deadlines": deadlines})
        files = {}
        for split in ("train", "test"):
            path = self.folder / f"{key}-{split}.jsonl"
            path.write_text(json.dumps({"messages": [], "key": key}) + "\n")
            files[split] = getattr(made.data, split).model_copy(update={"path": str(path)})
        data = made.data.model_copy(update=files)
        return made.model_copy(update={"config": config, "data": data})

    def stage(self, name: str, made: Plan) -> Callable[[], object]:
        """What the flow does at that stage, ready to be called."""
        tags = self.tags(made)
        choice = made.config.compute
        return {
            "compute": lambda: ensure_cluster(self.workspace, choice, tags, MINUTES),
            "job": lambda: submit_job(self.workspace, made, tags),
            "model": lambda: register_model(self.workspace, made, _JOB, tags),
            "deploy": lambda: deploy_model(self.workspace, made, self.base, tags),
            "tear down": lambda: tear_down(self.claim(made)),
            "remember": lambda: remember_plan(self.workspace, made, _JOB),
        }[name]

    def prepare(self, name: str, made: Plan) -> None:
        """What has to be there before the stage."""
        client = workspace_client(self.workspace)
        if name == "job":
            choice = ComputeChoice(cluster=made.names.cluster)
            ensure_cluster.fn(self.workspace, choice, {}, 1)
        if name == "tear down":
            ensure_endpoint(client, made.names.endpoint, "", self.tags(made), minutes=1)

    def left(self, made: Plan) -> dict[str, int]:
        """How many of each kind bear the run key; 404 counts as none."""
        client, key = workspace_client(self.workspace), made.names.run_key

        def count(entities: Any) -> int:
            return sum((entity.tags or {}).get("run_key") == key for entity in entities)

        return {
            "jobs": count(client.jobs.list()),
            "models": count(client.models.list(name=self.model)),
            "endpoints": count(client.online_endpoints.list()),
            "clusters": sum(c.name == made.names.cluster for c in client.compute.list()),
        }

    def clean(self, made: Plan) -> None:
        """What the flow does at its end, and a person afterwards."""
        client = workspace_client(self.workspace)
        in_a_flow(lambda: tear_down(self.claim(made)))
        for job in client.jobs.list():
            if job.name == made.names.job and str(job.status) not in ("Canceled", "Completed"):
                client.jobs.begin_cancel(job.name).wait(10)

    def tags(self, made: Plan) -> dict[str, str]:
        return {"run_key": made.names.run_key, "flow_run_id": str(uuid.uuid4())}

    def claim(self, made: Plan) -> Claim:
        """The claim of the flow run that calls this."""
        return Claim(
            flow_run_id=str(flow_run.get_id()),
            workspace=self.workspace,
            run_key=made.names.run_key,
            endpoint=made.names.endpoint,
            minutes=MINUTES,
        )

    def _base_model(self) -> RegisteredModel:
        from azure.ai.ml.constants import AssetTypes
        from azure.ai.ml.entities import Model

        folder = Registry().model_folder("Phi-3-mini-4k-instruct")
        model = Model(name="base", version="1", path=str(folder), type=AssetTypes.MLFLOW_MODEL)
        made: Any = workspace_client(self.workspace).models.create_or_update(model)
        return RegisteredModel(id=made.id, name="base", version="1")

    def _job_with_a_model(self) -> None:
        from azure.ai.ml import Output, command

        job = command(
            command=_WRITE_MODEL,
            environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest",
            name=_JOB,
            outputs={"trained_model": Output(type="mlflow_model")},
        )
        workspace_client(self.workspace).jobs.create_or_update(job)
        end_of(self.workspace, _JOB)


@flow(name="one stage")
def in_a_flow(stage: Callable[[], object]) -> None:
    """Tasks are retried by Prefect's engine only inside a flow."""
    stage()
