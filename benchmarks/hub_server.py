"""A local hub in a process of its own that counts the bytes of its answers.

    python -m benchmarks.hub_server FOLDER PORT

GET /bench/bytes gives the bytes of all answers so far.
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import JSONResponse

from emulator.hub import hub_app


class Counted:
    """The hub; what it sends is counted."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.bytes = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/bench/bytes":
            await JSONResponse(self.bytes)(scope, receive, send)
            return

        async def counting(message: Any) -> None:
            self.bytes += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, counting)


if __name__ == "__main__":
    uvicorn.run(
        Counted(hub_app(Path(sys.argv[1]))),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        lifespan="off",
    )
