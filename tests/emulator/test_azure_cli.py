"""The `az` that `azureml-emulator exec` brings."""

import json
import sys
from pathlib import Path

import requests

from tests.emulator.running import RunningEmulator


def test_the_azure_command_line_is_signed_in(emulator: RunningEmulator, tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(
        "from azure.identity import AzureCliCredential\n"
        "print(AzureCliCredential().get_token('https://management.azure.com/.default').token)\n"
    )
    shown = emulator.command("exec", "--", sys.executable, str(script))
    assert shown.returncode == 0, shown.stderr
    answer = requests.get(
        "https://management.azure.com/subscriptions/"
        f"{emulator.environment['AZUREML_SUBSCRIPTION_ID']}"
        "/providers/Microsoft.MachineLearningServices/workspaces",
        headers={"Authorization": f"Bearer {shown.stdout.strip()}"},
        timeout=10,
    )
    assert answer.status_code == 200
    account = emulator.command("exec", "--", "az", "account", "show")
    assert json.loads(account.stdout)["id"] == emulator.environment["AZUREML_SUBSCRIPTION_ID"]
    query = ("account", "show", "--query", "tenantId", "-o", "tsv")
    tenant = emulator.command("exec", "--", "az", *query).stdout.strip()
    assert tenant == emulator.environment["AZURE_TENANT_ID"]
    refused = emulator.command("exec", "--", "az", "vm", "list")
    assert refused.returncode == 2
    assert "az vm list" in refused.stderr
