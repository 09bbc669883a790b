"""Who may use the control API: who holds the state folder's signing key."""

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from emulator.http import Handler, Router, emulator_of

CONTROL_HOST = "azureml-emulator.test"
# Outside "localhost", which NO_PROXY would keep from the proxy.
AUDIENCE = f"https://{CONTROL_HOST}"


def control(router: Router, name: str, method: str, template: str) -> Callable[[Handler], Handler]:
    """Register an operation of the control API, which needs a token for it."""

    def register(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            # By the machine's time: the emulator's may be turned by who asks.
            emulator_of(request).tokens.check_at(time.time(), request, AUDIENCE)
            return await handler(request)

        router.operation(name, method, template)(handle)
        return handler

    return register
