"""Errors of services become sentences; only passing ones are tried again. No secret survives."""

import errno
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import errors
from tasks.errors import (
    EndpointError,
    ErrorKind,
    NotFound,
    PermissionProblem,
    QuotaExceeded,
    UserError,
)
from tasks.explaining import explain, is_transient, retry_on_transient
from tasks.scrubbing import scrub

_CODES = {
    400: ("UserError", "The specified resource is invalid."),
    401: ("InvalidAuthenticationToken", "The access token is expired."),
    403: ("AuthorizationFailed", "The client does not have authorization to perform action."),
    404: ("ResourceNotFound", "The Resource 'gone' was not found."),
    408: ("RequestTimeout", "Took too long."),
    409: ("Conflict", "Another operation is in progress."),
    429: ("TooManyRequests", "Slow down."),
    500: ("InternalServerError", "Oops."),
    501: ("OperationNotSupported", "PATCH x is not emulated."),
    503: ("ServerBusy", "Busy."),
}


class _Answers(BaseHTTPRequestHandler):
    """Answers /STATUS with that status and Azure's error body."""

    def do_GET(self) -> None:
        status = int(self.path.strip("/"))
        code, message = _CODES[status]
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def azure_error(service: str, status: int) -> Exception:
    """What azure-core raises for an answer of that status, as the SDK's generated clients do."""
    from azure.core import PipelineClient
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ResourceExistsError,
        ResourceNotFoundError,
        map_error,
    )
    from azure.core.rest import HttpRequest

    kinds: dict[int, Any] = {
        401: ClientAuthenticationError,
        404: ResourceNotFoundError,
        409: ResourceExistsError,
    }
    pipeline: Any = PipelineClient(base_url=service, policies=[])
    with pipeline as client:
        response = client.send_request(HttpRequest("GET", f"{service}/{status}"))
        response.read()
        try:
            map_error(status, response, kinds)
            raise HttpResponseError(response=response)
        except HttpResponseError as error:
            return error


def connection_error(library: str) -> Exception:
    nowhere = "http://127.0.0.1:1/"
    try:
        if library == "requests":
            import requests

            requests.get(nowhere, timeout=5)
        elif library == "httpx":
            import httpx

            httpx.get(nowhere)
        else:
            from azure.core import PipelineClient
            from azure.core.rest import HttpRequest

            pipeline: Any = PipelineClient(base_url=nowhere, policies=[])
            pipeline.send_request(HttpRequest("GET", nowhere))
    except Exception as error:
        return error
    raise AssertionError("something listens on port 1")


@pytest.mark.parametrize("status", sorted(_CODES))
def test_only_passing_statuses_are_tried_again(service: str, status: int) -> None:
    assert is_transient(azure_error(service, status)) is (status in (408, 429, 500, 503))


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, errors.UserError, "Correct"),
        (401, errors.PermissionProblem, "credential"),
        (403, errors.PermissionProblem, "role"),
        (404, errors.NotFound, "name"),
        (409, errors.UserError, "wait"),
        (501, errors.UserError, "not support"),
        (503, errors.UserError, "run again"),
    ],
)
def test_an_answer_of_azure_says_what_was_done_its_code_and_the_next_step(
    service: str, status: int, kind: type[errors.UserError], advice: str
) -> None:
    explained = explain(azure_error(service, status), "Looking up model Phi-4")
    code, text = _CODES[status]
    assert type(explained) is kind
    assert explained is not None
    assert explained.message == f"Looking up model Phi-4 failed: {status} {code}: {text}"
    assert advice in explained.advice
    assert "\n" not in str(explained)


@pytest.mark.parametrize("library", ["requests", "httpx", "azure"])
def test_a_lost_connection_is_tried_again_and_explained(library: str) -> None:
    error = connection_error(library)
    assert is_transient(error)
    explained = explain(error, "Opening the workspace")
    assert explained is not None
    assert "check the network" in explained.advice


def test_a_wrong_secret_is_not_tried_again_but_a_sign_in_that_was_cut_off_is() -> None:
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

    wrong = ClientAuthenticationError("AADSTS7000215: Invalid client secret provided.")
    assert not is_transient(wrong)
    assert isinstance(explain(wrong, "Signing in"), errors.PermissionProblem)
    cut_off = ClientAuthenticationError("Authentication failed")
    cut_off.__cause__ = ServiceRequestError("Connection refused")
    assert is_transient(cut_off)


def test_no_credential_at_all_asks_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.identity import EnvironmentCredential

    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Exception, match="not fully configured") as caught:
        EnvironmentCredential().get_token("https://management.azure.com/.default")
    explained = explain(caught.value, "Signing in")
    assert isinstance(explained, errors.PermissionProblem)
    assert "az login" in explained.advice
    assert not is_transient(caught.value)


def test_too_few_cores_is_a_matter_of_quota() -> None:
    from azure.core.exceptions import HttpResponseError

    error = HttpResponseError("Not enough quota available for Standard_NC24ads_A100_v4.")
    assert isinstance(explain(error, "Creating the cluster"), errors.QuotaExceeded)


def test_a_bug_of_ours_is_not_explained_away() -> None:
    assert explain(KeyError("x"), "Doing") is None
    assert not is_transient(KeyError("x"))


def test_a_users_error_stays_as_it_is_and_is_never_tried_again() -> None:
    error = errors.DataError("No rows.", "Take more.")
    assert explain(error, "Doing") is error
    assert str(error) == "No rows. Take more."
    error.__cause__ = ConnectionError("reset")
    assert not is_transient(error)


SECRET = "abcDEF0123456789abcDEF"


@pytest.mark.parametrize(
    "text",
    [
        f"https://x.blob.core.windows.net/c/b?sv=2024&sig={SECRET}%3D&se=2026",
        f"Authorization: Bearer {SECRET}.{SECRET}",
        f"AccountName=x;AccountKey={SECRET}==;EndpointSuffix=y",
        f"client_id=1&client_secret={SECRET}&scope=x",
        f'{{"access_token": "{SECRET}", "primaryKey":"{SECRET}"}}',
        f"token eyJhbGciOiJIUzI1NiJ9.{SECRET}.{SECRET} was refused",
        f"Authorization: SharedKey account:{SECRET}=",
        f"HF_TOKEN hf_{SECRET}",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    assert SECRET not in scrub(text)
    assert SECRET not in str(errors.UserError(text, text))


def test_the_secret_of_the_environment_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
    assert scrub(f"refused: {SECRET}") == "refused: ***"


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"]), max_size=60))
def test_plain_text_is_left_alone(text: str) -> None:
    assert scrub(text) == text


class _State:
    """A task run's state: `result()` raises what the task raised, as Prefect's does."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def result(self) -> None:
        if self._error:
            raise self._error


@pytest.mark.parametrize(
    ("error", "again"),
    [(ConnectionResetError("reset"), True), (ValueError("no"), False), (None, False)],
)
def test_the_retry_condition_answers_and_never_raises(error: Exception | None, again: bool) -> None:
    assert retry_on_transient(None, None, _State(error)) is again


def test_a_full_disk_is_named_with_a_way_out() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/data/train.jsonl")
    clear = explain(error, "Preparing the data")
    assert clear is not None
    assert str(clear).startswith("Preparing the data failed: /data/train.jsonl: No space left")
    assert "FINETUNE_HOME" in clear.advice


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionProblem("x"), ErrorKind.PERMISSION),
        (QuotaExceeded("x"), ErrorKind.QUOTA),
        (EndpointError("x"), ErrorKind.SERVICE),
        (NotFound("x"), ErrorKind.BAD_INPUT),
        (EndpointError("x", kind=ErrorKind.OUT_OF_MEMORY), ErrorKind.OUT_OF_MEMORY),
    ],
)
def test_each_class_has_its_kind_and_one_error_may_have_another(
    error: UserError, kind: ErrorKind
) -> None:
    assert error.kind is kind


def test_a_lost_connection_is_explained_as_transient() -> None:
    clear = explain(ConnectionRefusedError("refused"), "Looking")
    assert clear is not None
    assert clear.kind is ErrorKind.TRANSIENT
