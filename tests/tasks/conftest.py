"""Tasks against a local Azure: the block's name is all that they get."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azure import local_azure


@pytest.fixture
def workspace(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """Name of a block whose workspace is the local one; the environment leads there."""
    from blocks.azureml import AzureMLWorkspace
    from tasks.clients import forget_clients

    for name, value in local_azure().environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path))
    AzureMLWorkspace().save("local", overwrite=True, _sync=True)  # type: ignore[call-arg]
    forget_clients()
    yield "local"
    forget_clients()
