"""One request to the control API of a running emulator, from another process."""

import http.client
import json
import ssl
from typing import Any

from emulator.config import Config
from emulator.control_access import AUDIENCE, CONTROL_HOST
from emulator.identity import Tokens

SECONDS = 60


class ControlError(Exception):
    """The emulator did not do what it was asked. `status` is its answer's, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def send(config: Config, method: str, path: str, body: object = None) -> Any:
    """Ask the emulator; gives its JSON answer, or None. Raises ControlError with the reason."""
    # Not through the environment's proxy settings: they are for the emulator's clients.
    connection = http.client.HTTPSConnection(
        "127.0.0.1",
        config.proxy_port,
        timeout=SECONDS,
        # The bundle holds all the world's authorities too, which takes long to read.
        context=ssl.create_default_context(cafile=config.certificates / "server.pem"),
    )
    connection.set_tunnel(CONTROL_HOST, 443)
    token = Tokens(config).issue(AUDIENCE, config.client_id)
    content = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, content, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise ControlError(f"the emulator did not answer {method} {path}: {error}") from error
    finally:
        connection.close()
    if answer.status >= 400:
        raise ControlError(f"the emulator refused {method} {path}: {_reason(text)}", answer.status)
    return json.loads(text) if text else None


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text
