"""One deployed model behind HTTP: `python -m emulator.scoring_server --model FOLDER --port 0`.

Prints `LISTENING <port>` once the port is bound, and loads the model after that: GET /health
answers 503 until it is loaded, then 200. A model that cannot be loaded ends the process with one
line that says why. The process ends when the one that started it ends.

POST /score of a chat model takes what the images of the real service take:

    {"input_data": {"input_string": [[{"role": "user", "content": "..."}, ...], ...],
                    "parameters": {"temperature": 0.6, "top_p": 0.9, "do_sample": true,
                                   "max_new_tokens": 200}},
     "params": {}}

`input_string` is a list of conversations, or the messages of one. Each conversation is given to
the model as it is, whoever speaks last, and the model writes the assistant's next message. The
answer is {"output": "..."} for one conversation and {"output": ["...", ...]} for several. One
conversation is generated at a time.

Models of other MLflow flavors take {"input_data": {"columns": [...], "data": [[...], ...]}},
{"input_data": [...]} or MLflow's own dataframe_split, dataframe_records, inputs and instances, and
answer a list of predictions. GET /swagger.json?version=2 or 3 says what a model takes and gives.
"""

import argparse
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PARENT_CHECK_SECONDS = 2.0


def _neighbour(name: str) -> Any:
    """A module beside this file, from whose folder nothing is imported."""
    found = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


_models = _neighbour("scoring_models")


class Server(ThreadingHTTPServer):
    """The HTTP side. `model` is None until it is loaded."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), Handler)
        self.model: Any = None
        """As in scoring_models."""
        self.lock = threading.Lock()

    def score(self, content: bytes) -> tuple[int, Any]:
        if self.model is None:
            return 503, _error("ModelNotReady", "The model is still loading; try again.")
        try:
            body = json.loads(content)
        except ValueError as error:
            return 400, _error("BadRequest", f"The body is not valid JSON: {error}")
        if not isinstance(body, dict):
            return 400, _error("BadRequest", "The body must be a JSON object.")
        try:
            with self.lock:
                return 200, self.model.score(body)
        except _models.BadRequest as error:
            return 400, _error("BadRequest", str(error))


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class Handler(BaseHTTPRequestHandler):
    """One connection. Answers are written in one piece."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/swagger.json" and self.server.model is not None:
            self._describe(parse_qs(address.query).get("version", ["2"])[-1])
        elif address.path != "/health":
            self._answer(404, _error("NotFound", f"There is nothing at {self.path}."))
        elif self.server.model is None:
            self._answer(503, {"status": "loading"})
        else:
            self._answer(200, {"status": "ready"})

    def _describe(self, version: str) -> None:
        description = _neighbour("script_description")
        try:
            answer = description.describe_model(*self.server.model.schemas(), version)
        except description.NoDescription as error:
            self._answer(404, {"message": str(error)})
        else:
            self._answer(200, answer)

    def do_POST(self) -> None:
        started = time.monotonic()
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.partition("?")[0] != "/score":
            self._answer(404, _error("NotFound", f"There is nothing at {self.path}."))
            return
        try:
            status, answer = self.server.score(content)
        except Exception as error:
            status = 500
            answer = _error("ModelError", f"The model failed: {type(error).__name__}: {error}")
        reason = f"  {answer['error']['message']}" if status != 200 else ""
        print(f"POST /score {status} {time.monotonic() - started:.2f} s{reason}", flush=True)
        self._answer(status, answer)

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Health checks would fill the log; requests to /score have their own line."""


def end_with(parent: int, end: Callable[[int], Any] = os._exit) -> None:
    """Wait until the parent process is gone, then end this one."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    end(1)


def main() -> None:
    parent = os.getppid()
    parser = argparse.ArgumentParser(prog="emulator.scoring_server")
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    a = parser.parse_args()
    server = Server(a.host, a.port)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    # Wakes for a connection at once; the interval only delays an orderly shutdown.
    threading.Thread(target=server.serve_forever, args=(3600,), daemon=True).start()
    print(f"LISTENING {server.server_address[1]}", flush=True)
    started = time.monotonic()
    try:
        server.model = _models.load(a.model)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        sys.exit(f"The model in {a.model} cannot be loaded: {type(error).__name__}: {reason}")
    print(f"Model loaded in {time.monotonic() - started:.1f} s", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
