"""A scoring script behind HTTP: `python -P script_server.py --script score.py`.

Run by its path with the Python of the deployment's environment, which holds what its user asked
for and nothing else: so only the standard library is used here. -P keeps the folder of this file
from being imported from.

Prints `LISTENING <port>` once the port is bound; GET /health answers 503 until the script's
`init()` has returned, then 200. A script that cannot be started ends the process. POST /score
calls `run` as `script_request` says: its result is answered as JSON, an exception in `run` is a
500 and its trace goes to the log. The process ends when the one that started it ends.
"""

import argparse
import importlib.util
import json
import os
import runpy
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
PARENT_CHECK_SECONDS = 2.0


class Script:
    """The functions of a scoring script, loaded but not initialised."""

    def __init__(self, file: Path) -> None:
        sys.path[:0] = dict.fromkeys([str(file.parent), os.getcwd()])
        names = runpy.run_path(str(file), run_name="entry_module")
        for name in ("init", "run"):
            if not callable(names.get(name)):
                sys.exit(f"The scoring script {file.name} defines no function {name}().")
        self.init = names["init"]
        self._run = names["run"]
        self.run = _requests.Caller(self._run)

    def describe(self, version: str) -> tuple[int, bytes]:
        """Status and content of what the script says of itself in a version of Swagger."""
        description = _neighbour("script_description")
        folder = Path(os.environ.get("AML_APP_ROOT") or os.getcwd())
        try:
            answer = description.describe(self._run, folder, version)
        except description.NoDescription as error:
            return 404, json.dumps({"message": str(error)}).encode()
        return 200, json.dumps(answer).encode()


def _neighbour(name: str) -> Any:
    """A module beside this one, whose folder is not imported from."""
    found = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


_requests = _neighbour("script_request")


class Server(ThreadingHTTPServer):
    """`script` is None until its init() has returned."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script: Script | None = None
        self.slots = threading.Semaphore(int(os.environ.get("WORKER_COUNT") or 1))


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            ready = self.server.script is not None
            self._answer(200 if ready else 503, b"{}", "application/json")
        elif path == "/":
            self._answer(200, b"Healthy", "text/html; charset=utf-8")
        elif path == "/score":
            self._score()
        elif path == "/swagger.json" and self.server.script is not None:
            self._describe(self.server.script)
        else:
            self._answer(404, b"Not Found", "text/plain")

    def _describe(self, script: Script) -> None:
        version = parse_qs(urlsplit(self.path).query).get("version", ["2"])[-1]
        try:
            status, content = script.describe(version)
        except Exception:
            traceback.print_exc()
            status, content = 500, json.dumps({"message": FAILED}).encode()
        self._answer(status, content, "application/json")

    def do_POST(self) -> None:
        if urlsplit(self.path).path == "/score":
            self._score()
        else:
            self._answer(404, b"Not Found", "text/plain")

    def _score(self) -> None:
        began = time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        script = self.server.script
        if script is None:
            self._answer(503, b'{"message": "The script is being initialised."}', "text/plain")
            return
        address = urlsplit(self.path)
        request = _requests.Request(
            self.command, address.path, address.query, list(self.headers.items()), body
        )
        status, content, headers = self._ask(script, request)
        milliseconds = (time.monotonic() - began) * 1000
        print(f"{self.command} /score {status} {milliseconds:.3f}ms {len(content)}", flush=True)
        headers["x-ms-run-fn-exec-ms"] = f"{milliseconds:.3f}"
        self._answer(status, content, headers.pop("content-type", "application/json"), headers)

    def _ask(self, script: Script, request: Any) -> "tuple[int, bytes, dict[str, str]]":
        """Status, content and headers of what the script answers, or of how it failed."""
        told = "x-ms-run-function-failed"
        try:
            with self.server.slots:
                status, content, given = script.run(request)
        except _requests.Refused as error:
            return error.status, json.dumps({"message": str(error)}).encode(), {told: "False"}
        except Exception:
            traceback.print_exc()
            return 500, json.dumps({"message": FAILED}).encode(), {told: "True"}
        headers = {name.lower(): value for name, value in given}
        headers.pop("content-length", None)
        headers[told] = "True" if status >= 500 else headers.get(told, "False")
        return status, content, headers

    def _answer(
        self, status: int, content: bytes, kind: str, headers: "dict[str, str] | None" = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Health checks would fill the log; requests to /score have their own line."""


def end_with(parent: int) -> None:
    """Wait until the parent process is gone, then end this one."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def main() -> None:
    parent = os.getppid()
    parser = argparse.ArgumentParser(prog="script_server")
    parser.add_argument("--script", type=Path, required=True, help="the scoring script")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    a = parser.parse_args()
    server = Server(a.port)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    threading.Thread(target=server.serve_forever, args=(3600,), daemon=True).start()
    print(f"LISTENING {server.server_address[1]}", flush=True)
    if not a.script.is_file():
        sys.exit(f"The scoring script {a.script} is not in the deployment's code folder.")
    began = time.monotonic()
    print(f"Invoking user's init function of {a.script.name}", flush=True)
    sys.meta_path.append(_requests.StandIns())
    script = Script(a.script.resolve())
    script.init()
    server.script = script
    print(
        f"Users's init has completed successfully in {time.monotonic() - began:.1f} s", flush=True
    )
    threading.Event().wait()


if __name__ == "__main__":
    main()
