"""What the tests of the emulator's pages look at: a pipeline with a pipeline in it, which fails."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

PRINTED = "rows: <script>alert(1)</script>"


def run_failing_pipeline(client: "MLClient", display_name: str) -> str:
    """Steps `prepare`, `models/train` and `check`; the last one exits with 3. Gives the name."""
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.dsl import pipeline
    from azure.ai.ml.entities import Environment

    environment = Environment(image="docker.io/library/python:3.11")
    write = command(
        command=f"echo '{PRINTED}' | tee ${{{{outputs.rows}}}}/rows.txt",
        outputs={"rows": Output(type="uri_folder")},
        environment=environment,
    )
    read = command(
        command="cat ${{inputs.rows}}/rows.txt; exit ${{inputs.code}}",
        inputs={"rows": Input(type="uri_folder"), "code": Input(type="integer")},
        environment=environment,
    )

    @pipeline()  # type: ignore[call-overload,untyped-decorator]
    def models(rows: Input) -> None:
        train = read(rows=rows, code=0)
        train.name = "train"

    @pipeline(default_compute="local", display_name=display_name)  # type: ignore[call-overload,untyped-decorator]
    def rows() -> None:
        prepare = write()
        inner = models(rows=prepare.outputs["rows"])
        inner.name = "models"
        check = read(rows=prepare.outputs["rows"], code=3)
        check.name = "check"

    job = client.jobs.create_or_update(rows())
    with pytest.raises(Exception, match="failed child jobs"):
        client.jobs.stream(job.name)
    return str(job.name)
