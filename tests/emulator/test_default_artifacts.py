"""What every job leaves, as the output `artifacts` of a step."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

PIPELINE = """
type: pipeline
settings: {default_compute: azureml:serverless}
jobs:
  leaves:
    command: echo world > ./outputs/world.txt
    environment: {image: docker.io/library/python}
    outputs:
      artifacts:
  reads:
    command: test "$(cat ${{inputs.left}}/outputs/world.txt)" = world
    environment: {image: docker.io/library/python}
    inputs:
      left: ${{parent.jobs.leaves.outputs.artifacts}}
"""


def test_a_step_reads_the_artifacts_of_another(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml import load_job

    (tmp_path / "job.yml").write_text(PIPELINE)
    job = ml_client.jobs.create_or_update(load_job(tmp_path / "job.yml"))
    assert job.name
    ml_client.jobs.stream(job.name)
    children = {
        child.display_name: child for child in ml_client.jobs.list(parent_job_name=job.name)
    }
    assert {name: child.status for name, child in children.items()} == {
        "leaves": "Completed",
        "reads": "Completed",
    }
    ml_client.jobs.download(str(children["leaves"].name), download_path=tmp_path, all=True)
    assert (tmp_path / "artifacts" / "outputs" / "world.txt").read_text() == "world\n"
