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
answer a list of predictions.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

PARAMETERS: dict[str, tuple[type[float], ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "do_sample": (bool,),
    "max_new_tokens": (int,),
    "repetition_penalty": (int, float),
    "return_full_text": (bool,),
}
DEFAULT_NEW_TOKENS = 200
PARENT_CHECK_SECONDS = 2.0


class BadRequest(Exception):
    """A request that the model cannot answer; the text goes to the client."""


class Model(Protocol):
    def score(self, body: dict[str, Any]) -> Any:
        """The answer to a request's JSON body. Raises BadRequest."""


def load(folder: Path) -> Model:
    """Load a model folder. Raises ValueError for a folder that holds no model."""
    for model, tokenizer in (
        ("model", "components/tokenizer"),
        ("data/model", "data/tokenizer"),
        (".", "."),
    ):
        if (folder / model / "config.json").is_file():
            return ChatModel(folder / model, folder / tokenizer)
    if (folder / "MLmodel").is_file():
        return TabularModel(folder)
    raise ValueError(f"{folder} holds neither an MLmodel file nor a config.json")


class ChatModel:
    """A transformers model with a chat template."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        gpu = torch.cuda.is_available()
        if not gpu:
            torch.set_num_threads(1)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer)
        if not self._tokenizer.chat_template:
            raise ValueError(f"the tokenizer in {tokenizer} has no chat template")
        dtype = "auto" if gpu else torch.float32
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        self._model = loaded.to("cuda" if gpu else "cpu").eval()
        self._context = int(self._model.config.max_position_embeddings)

    def score(self, body: dict[str, Any]) -> Any:
        conversations, parameters = read_chat_request(body)
        replies = [self._reply(messages, parameters) for messages in conversations]
        return {"output": replies[0] if len(replies) == 1 else replies}

    def _reply(self, messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
        import torch

        try:
            prompt = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(self._model.device)
        except Exception as error:  # Templates raise what they like.
            raise BadRequest(f"The chat template refused the conversation: {error}") from error
        length = prompt["input_ids"].shape[1]
        room = self._context - length
        if room < 1:
            raise BadRequest(
                f"The conversation has {length} tokens; the model reads at most "
                f"{self._context - 1} and one more for its reply."
            )
        settings = dict(parameters)
        whole = settings.pop("return_full_text", False)
        settings["max_new_tokens"] = min(settings.get("max_new_tokens", DEFAULT_NEW_TOKENS), room)
        if settings.get("temperature") == 0:
            settings |= {"do_sample": False, "temperature": 1.0}
        with torch.inference_mode():
            tokens = self._model.generate(**prompt, **settings, min_new_tokens=1)[0]
        text: str = self._tokenizer.decode(
            tokens if whole else tokens[length:], skip_special_tokens=True
        )
        return text.strip()


class TabularModel:
    """Any other MLflow model, through its pyfunc flavor."""

    def __init__(self, folder: Path) -> None:
        import mlflow.pyfunc

        self._model = mlflow.pyfunc.load_model(str(folder))

    def score(self, body: dict[str, Any]) -> Any:
        import pandas
        from mlflow.exceptions import MlflowException

        try:
            data = self._input(body)
            answer = self._model.predict(data, params=body.get("params") or None)
        except (MlflowException, ValueError) as error:
            raise BadRequest(f"The model refused input_data: {error}") from error
        if isinstance(answer, pandas.DataFrame):
            return answer.to_dict("records")
        return answer.tolist() if hasattr(answer, "tolist") else answer

    def _input(self, body: dict[str, Any]) -> Any:
        """What the model is given: a table, or tensors, by the key that it came under."""
        import pandas

        if isinstance(split := body.get("dataframe_split"), dict):
            return pandas.DataFrame(split["data"], split.get("index"), split.get("columns"))
        if isinstance(records := body.get("dataframe_records"), list):
            return pandas.DataFrame(records)
        for key in ("inputs", "instances"):
            if isinstance(body.get(key), list | dict):
                return _tensors(body[key])
        data = body.get("input_data")
        if isinstance(data, dict) and {"columns", "data"} <= data.keys():
            return pandas.DataFrame(data["data"], data.get("index"), data["columns"])
        schema = self._model.metadata.get_input_schema() if self._model.metadata else None
        if isinstance(data, list | dict) and schema is not None and schema.is_tensor_spec():
            return _tensors(data)
        if isinstance(data, list | dict):
            return pandas.DataFrame(data)
        raise BadRequest("input_data is missing, or neither an object nor a list.")


def _tensors(data: Any) -> Any:
    """Numbers as MLflow's tensor models take them: an array, or arrays by name."""
    import numpy

    if isinstance(data, dict):
        return {name: numpy.array(values) for name, values in data.items()}
    return numpy.array(data)


def read_chat_request(body: dict[str, Any]) -> tuple[list[list[dict[str, str]]], dict[str, Any]]:
    """The conversations and generation parameters of a request. Raises BadRequest."""
    data = body.get("input_data")
    if not isinstance(data, dict) or "input_string" not in data:
        raise BadRequest("The body must have input_data.input_string: a list of conversations.")
    given = data["input_string"]
    if not isinstance(given, list) or not given:
        raise BadRequest("input_data.input_string must be a list that is not empty.")
    conversations = [given] if isinstance(given[0], dict) else given
    for number, messages in enumerate(conversations):
        if not isinstance(messages, list) or not messages:
            raise BadRequest(f"Conversation {number} is not a list of messages.")
        for message in messages:
            texts = message if isinstance(message, dict) else {}
            if not all(isinstance(texts.get(key), str) for key in ("role", "content")):
                raise BadRequest(
                    f"Conversation {number} has a message without the texts role and content."
                )
    parameters = {**(data.get("parameters") or {}), **(body.get("params") or {})}
    for name, value in parameters.items():
        _check_parameter(name, value)
    return conversations, parameters


def _check_parameter(name: str, value: Any) -> None:
    kinds = PARAMETERS.get(name)
    if kinds is None:
        raise BadRequest(f"Parameter {name} is not supported; use {', '.join(PARAMETERS)}.")
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise BadRequest(f"Parameter {name} is {value!r}; it must be of the type {expected}.")
    number = float(value)
    valid, limit = {
        "temperature": (number >= 0, "0 or more"),
        "top_k": (number >= 0, "0 or more"),
        "max_new_tokens": (number >= 1, "1 or more"),
        "top_p": (0 < number <= 1, "greater than 0 and at most 1"),
        "repetition_penalty": (number > 0, "greater than 0"),
    }.get(name, (True, ""))
    if not valid:
        raise BadRequest(f"Parameter {name} is {value}; it must be {limit}.")


class Server(ThreadingHTTPServer):
    """The HTTP side. `model` is None until it is loaded."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), Handler)
        self.model: Model | None = None
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
        except BadRequest as error:
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
        if self.path.partition("?")[0] != "/health":
            self._answer(404, _error("NotFound", f"There is nothing at {self.path}."))
        elif self.server.model is None:
            self._answer(503, {"status": "loading"})
        else:
            self._answer(200, {"status": "ready"})

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
        server.model = load(a.model)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        sys.exit(f"The model in {a.model} cannot be loaded: {type(error).__name__}: {reason}")
    print(f"Model loaded in {time.monotonic() - started:.1f} s", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
