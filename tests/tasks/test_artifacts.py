from typing import Any

import pytest

from tasks.artifacts import without_dots


def test_the_sdk_polls_without_dots_and_stdout_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from azure.ai.ml._utils._azureml_polling import AzureMLPolling
    from azure.mgmt.core.polling.arm_polling import ARMPolling

    monkeypatch.setattr(ARMPolling, "update_status", lambda self: None)
    polling: Any = AzureMLPolling
    with without_dots():
        polling().update_status()
        print("of the flow")
    assert capsys.readouterr().out == "of the flow\n"
