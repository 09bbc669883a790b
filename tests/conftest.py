"""What every test starts from: no network proxy, no account, no set-up of the user's.

Prefect and the Hugging Face libraries read their environment when they are imported, so it is
set here, before any test module is.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_FOREIGN = ("AZURE_", "AZUREML_", "ARM_", "MLFLOW_", "PREFECT_", "HF_", "HUGGINGFACE_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(tempfile.mkdtemp(prefix="finetune-tests-"))
    config.stash[_FOLDER] = folder
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ.update(
        {
            "FINETUNE_RETRY_SECONDS": "0.2",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            "HF_HOME": str(folder / "huggingface"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "MPLBACKEND": "Agg",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NO_PROXY": "localhost,127.0.0.1",
        }
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A Prefect server for the tests that ask for one; gives its API URL.

    It takes some twenty seconds to start, so there is one a session.
    """
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())
