"""The published notebook's own code runs to its end, unchanged, against the emulator."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

NOTEBOOK = Path(__file__).parent / "notebook"


def test_the_notebook_runs_to_its_end(
    emulator: RunningEmulator, ml_client: "MLClient", tmp_path: Path
) -> None:
    for file in NOTEBOOK.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    environment = emulator.environment
    workspace = {
        "subscription_id": environment["AZUREML_SUBSCRIPTION_ID"],
        "resource_group": environment["AZUREML_RESOURCE_GROUP"],
        "workspace_name": environment["AZUREML_WORKSPACE_NAME"],
    }
    (tmp_path / "config.json").write_text(json.dumps(workspace))
    result = subprocess.run(
        [sys.executable, "finetune_notebook.py"],
        cwd=tmp_path,
        # The notebook calls `python`: it has to be this one.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    response = result.stdout.partition("raw response:")[2].strip()
    reply, _ = json.JSONDecoder().raw_decode(response)
    assert reply["output"]
    assert list(ml_client.online_endpoints.list()) == []
    assert "Phi-3-mini-4k-instruct-ultrachat-200k" in {m.name for m in ml_client.models.list()}
