"""A request as a scoring script's `run` gets it, and what `run` gives as an answer.

Loaded by its path with the Python of a deployment's environment, like `script_server`: it uses
nothing but the standard library, and Flask where a script asks for raw requests, which are Flask's.
As the real service's inference server does, it gives `run` the body as text; parameters by name
where `inference_schema` decorates it; the whole request where `rawhttp` does; and the headers too
where it has a parameter `request_headers`.
"""

import importlib.abc
import importlib.machinery
import inspect
import io
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import parse_qs

_SERVER = "azureml_inference_server_http.api"
_SERVICES = "azureml.contrib.services"
_REQUESTS = (f"{_SERVER}.aml_request", f"{_SERVICES}.aml_request")
_RESPONSES = (f"{_SERVER}.aml_response", f"{_SERVICES}.aml_response")
_RAW = "_rawHttpRequested"
"""Set in the module of `rawhttp` once that has decorated a function."""


class Refused(Exception):
    """A request that does not fit to the script's `run`; the text goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(NamedTuple):
    method: str
    path: str
    query: str
    headers: "list[tuple[str, str]]"
    body: bytes


class Answer(NamedTuple):
    status: int
    content: bytes
    headers: "list[tuple[str, str]]"


class Caller:
    """Calls a script's `run` in the way that its signature and decorators ask for."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run
        parameters = list(inspect.signature(run).parameters.values())
        self._wants_headers = any(each.name == "request_headers" for each in parameters)
        self._parameters = [each for each in parameters if each.name != "request_headers"]
        if not self._parameters:
            sys.exit("The function run() of the scoring script takes no argument for its data.")
        self._app: Any = None
        if any(getattr(sys.modules.get(name), _RAW, False) for name in _REQUESTS):
            import flask

            self._app = flask.Flask("scoring")

    def __call__(self, request: Request) -> Answer:
        """What `run` answers. Raises Refused, and whatever `run` raises."""
        if self._app is not None:
            return self._raw(request)
        if type(self._run).__name__ == "FunctionWrapper":
            given = self._by_name(request)
        else:
            given = {self._parameters[0].name: _text(request)}
        return _answer(self._run(**given, **self._headers(request)))

    def _headers(self, request: Request) -> dict[str, Any]:
        if not self._wants_headers:
            return {}
        # As Flask names them, whatever the client and the proxies on the way have written.
        return {"request_headers": {name.title(): value for name, value in request.headers}}

    def _raw(self, request: Request) -> Answer:
        import flask

        with self._app.request_context(_environ(request)):
            whole = flask.request._get_current_object()  # type: ignore[attr-defined]
            return _answer(self._run(**{self._parameters[0].name: whole}, **self._headers(request)))

    def _by_name(self, request: Request) -> dict[str, Any]:
        """The parameters that the decorators of inference_schema know."""
        if request.method == "GET":
            body: Any = _query(request)
        else:
            kind = next((v for k, v in request.headers if k.lower() == "content-type"), "")
            if kind.partition(";")[0].strip().lower() != "application/json":
                raise Refused(415, "Expects Content-Type to be application/json")
            try:
                body = json.loads(request.body)
            except ValueError as error:
                raise Refused(400, f"POST body could not be decoded as JSON: {error}") from None
        if not isinstance(body, dict):
            raise Refused(400, "POST body should be a JSON dictionary.")
        for each in self._parameters:
            if each.name not in body and each.default is inspect.Parameter.empty:
                raise Refused(400, f"A value is not provided for the {each.name!r} parameter.")
        return {each.name: body.get(each.name, each.default) for each in self._parameters}


def _text(request: Request) -> str:
    if request.method == "GET":
        return json.dumps(_query(request))
    try:
        return request.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, f"Input cannot be decoded as UTF-8: {error}") from None


def _query(request: Request) -> dict[str, Any]:
    """The parameters of the address: values that are JSON are read, repeated ones are lists."""

    def read(value: str) -> Any:
        try:
            return json.loads(value)
        except ValueError:
            return value

    found = parse_qs(request.query, keep_blank_values=True)
    return {k: read(v[0]) if len(v) == 1 else [read(each) for each in v] for k, v in found.items()}


def _environ(request: Request) -> dict[str, Any]:
    """A request as WSGI applications get it."""
    names = {name: "HTTP_" + name.upper().replace("-", "_") for name, _ in request.headers}
    headers = {names[name]: value for name, value in request.headers}
    return {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": headers.pop("HTTP_CONTENT_TYPE", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5001",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }


def _answer(result: Any) -> Answer:
    """Responses of Flask and its kin pass as they are; anything else is answered as JSON."""
    if hasattr(result, "get_data") and hasattr(result, "status_code"):
        status = int(result.status_code)
        headers = [(str(name), str(value)) for name, value in result.headers.items()]
        return Answer(status, result.get_data(), headers)
    content = json.dumps({} if result is None else result).encode()
    return Answer(200, content, [("Content-Type", "application/json")])


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The modules of `rawhttp`, `AMLRequest` and `AMLResponse` where none are installed.

    The real service starts each script with a server of its own that brings them.
    """

    def __init__(self) -> None:
        self._leaves = (*_REQUESTS, *_RESPONSES)

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> "importlib.machinery.ModuleSpec | None":
        package = any(leaf.startswith(f"{fullname}.") for leaf in self._leaves)
        if not package and fullname not in self._leaves:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in _REQUESTS:
            _fill_requests(module)
        elif module.__name__ in _RESPONSES:
            _fill_responses(module)


def _fill_requests(module: ModuleType) -> None:
    import flask

    def rawhttp(run: Any) -> Any:
        setattr(module, _RAW, True)
        return run

    vars(module).update({"AMLRequest": flask.Request, "rawhttp": rawhttp, _RAW: False})


def _fill_responses(module: ModuleType) -> None:
    import flask

    class AMLResponse(flask.Response):
        def __init__(
            self,
            message: Any,
            status_code: int,
            response_headers: "dict[str, str] | None" = None,
            json_str: bool = False,
            run_function_failed: bool = False,
        ) -> None:
            if json_str or message is None:
                text = json.dumps({} if message is None else message)
                super().__init__(text, status=status_code, mimetype="application/json")
            else:
                super().__init__(message, status=status_code)
            self.headers["x-ms-run-function-failed"] = str(run_function_failed)
            for name, value in (response_headers or {}).items():
                self.headers.remove(name)
                for each in value.split(","):
                    self.headers.add(name, each.strip())

    vars(module)["AMLResponse"] = AMLResponse
