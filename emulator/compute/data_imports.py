"""Imports of data from databases and other clouds: what such a node of a pipeline runs.

Nothing here reaches a database or another cloud. The job is accepted and fails as it does where its
connection is missing, or leads nowhere: with the connection's name in the reason.
"""

import http.client
import json
import os
import shlex
import ssl
import sys
from collections.abc import Mapping
from typing import Any

from emulator.compute.components import Component
from emulator.config import STATE_VARIABLE, Config, load_config, state_folder
from emulator.identity import MANAGEMENT, Tokens

_SECONDS = 60
_VERSION = "2024-04-01"


def import_component(node: Mapping[str, Any]) -> Component | None:
    """The component behind a node that imports data; None for any other node."""
    if node.get("type") != "data_transfer" or node.get("task") != "import_data":
        return None
    connection = str((node.get("source") or {}).get("connection") or "")
    words = (sys.executable, "-m", __name__, connection)
    outputs = {
        name: {"type": output.get("job_output_type") or "uri_folder"}
        for name, output in (node.get("outputs") or {}).items()
        if isinstance(output, Mapping)
    }
    spec = {
        "type": "command",
        "command": shlex.join(words),
        "outputs": outputs,
        "is_deterministic": False,
    }
    return Component(str(node.get("componentId") or ""), spec, None, None)


def main() -> int:
    """Look for the connection that the argument names in the job's workspace."""
    name = sys.argv[1].removeprefix("azureml:").rpartition("/")[2]
    config = load_config(state_folder(os.environ[STATE_VARIABLE]))
    if config is None:
        print("The local Azure ML that runs this job is not there any more.", file=sys.stderr)
        return 1
    connection = _connection(config, name)
    if connection is None:
        reason = f"Connection {name} can't be found in this workspace. Create it first."
    else:
        target = connection["properties"].get("target")
        reason = (
            f"The connection {name} leads to {target}, and the local Azure ML reaches nothing "
            "outside. Upload the data as a data asset instead."
        )
    print(reason, file=sys.stderr)
    return 1


def _connection(config: Config, name: str) -> dict[str, Any] | None:
    """A connection of the job's workspace, without its secret; None where there is none."""
    variables = os.environ
    path = (
        f"/subscriptions/{variables['AZUREML_SUBSCRIPTION_ID']}"
        f"/resourceGroups/{variables['AZUREML_RESOURCE_GROUP']}"
        "/providers/Microsoft.MachineLearningServices"
        f"/workspaces/{variables['AZUREML_WORKSPACE_NAME']}/connections/{name}"
    )
    trust = ssl.create_default_context(cafile=config.certificates / "server.pem")
    proxy = http.client.HTTPSConnection(
        "127.0.0.1", config.proxy_port, timeout=_SECONDS, context=trust
    )
    proxy.set_tunnel(config.arm_host, 443)
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    proxy.request(
        "GET", f"{path}?api-version={_VERSION}", headers={"Authorization": f"Bearer {token}"}
    )
    answer = proxy.getresponse()
    body = answer.read()
    proxy.close()
    if answer.status != http.client.OK:
        return None
    found: dict[str, Any] = json.loads(body)
    return found


if __name__ == "__main__":
    sys.exit(main())
