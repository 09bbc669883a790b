"""Asking the deployed model: one conversation of the data, and what it says to it."""

import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import task

from tasks.artifacts import markdown, run_logger, terminal_progress
from tasks.clients import REMOTE, explained, workspace_client
from tasks.errors import DataError, EndpointError
from tasks.explaining import azure_code_and_text, is_transient, status_of
from tasks.markdown import markdown_table, wrapped_cell
from tasks.scrubbing import scrub
from tasks.values import LiveEndpoint, Reply

Conversation = list[dict[str, str]]

_SAMPLING = {"temperature": 0.6, "top_p": 0.9, "do_sample": True}
_LONGEST_EXCERPT = 300


@task(name="ask the model", task_run_name="ask {endpoint.endpoint}", **REMOTE)
def ask_model(
    workspace: str, endpoint: LiveEndpoint, conversation: Conversation, max_new_tokens: int
) -> Reply:
    """Send the conversation without its last answer; the reply stands beside that answer.

    `conversation`: {"role", "content"} messages, an assistant's one last. Raises EndpointError
    for an answer that is an error, empty or malformed.
    """
    logger = run_logger()
    asked, expected = split_conversation(conversation)
    started = time.monotonic()
    with terminal_progress(f"Asking {endpoint.endpoint}", key="asking-progress"):
        body = _invoke(workspace, endpoint, request_body(asked, max_new_tokens))
    reply = Reply(
        conversation=tuple(asked),
        expected=expected,
        reply=reply_text(body, endpoint.endpoint),
        seconds=round(time.monotonic() - started, 2),
    )
    logger.info("The model replied in %.1f s: %s", reply.seconds, _excerpt(reply.reply))
    logger.info("The data expected: %s", _excerpt(expected))
    markdown("reply", reply_markdown(reply), "The model's reply beside the expected one")
    return reply


def split_conversation(conversation: Conversation) -> tuple[Conversation, str]:
    """The messages to send, and the assistant's last one, which they are asked for."""
    for index in range(len(conversation) - 1, 0, -1):
        if conversation[index].get("role") == "assistant":
            asked = [
                {"role": message["role"], "content": message["content"]}
                for message in conversation[:index]
            ]
            return asked, conversation[index]["content"]
    raise DataError(
        "The sample conversation has no answer of an assistant after its first message.",
        "Choose another `dataset.seed` or `dataset.sample_split`.",
    )


def request_body(asked: Conversation, max_new_tokens: int) -> dict[str, Any]:
    """The request that a chat-completion deployment of an MLflow model takes."""
    parameters = _SAMPLING | {"max_new_tokens": max_new_tokens}
    return {"input_data": {"input_string": [asked], "parameters": parameters}, "params": {}}


def _invoke(workspace: str, endpoint: LiveEndpoint, request: dict[str, Any]) -> str:
    client = workspace_client(workspace)
    asking = f"Asking endpoint {endpoint.endpoint}, deployment {endpoint.deployment},"
    with tempfile.TemporaryDirectory() as folder, explained(asking):
        file = Path(folder) / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        try:
            # The deployment is always named: the SDK goes on sending the last name it was given.
            answer: str = client.online_endpoints.invoke(
                endpoint_name=endpoint.endpoint,
                deployment_name=endpoint.deployment,
                request_file=str(file),
            )
            return answer
        except Exception as error:
            answered = _answer_in_trace(error)
            status = status_of(error) or (answered[0] if answered else None)
            if status in (429, 502, 503) and not is_transient(error):
                raise ConnectionError(f"it answered {status}: {error}") from error
            if status is None or (is_transient(error) and status not in (408, 500, 504)):
                raise
            text = answered[1] if answered else azure_code_and_text(error)[1]
            raise _refused(endpoint, status, text) from error


def _answer_in_trace(error: BaseException) -> tuple[int, str] | None:
    """Status and text of an answer over which the SDK itself failed; None for any other error.

    It raises a TypeError on a 408, and others on an error whose body is not what it expects: all
    in the function that held the answer.
    """
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "validate_response":
            response = trace.tb_frame.f_locals.get("response")
            status = getattr(response, "status_code", None)
            if not isinstance(status, int) or status < 400 or response is None:
                return None
            return status, _told(response.text())
        trace = trace.tb_next
    return None


def _told(body: str) -> str:
    """What the body of a refusal says, on one line."""
    with suppress(ValueError, LookupError, TypeError):
        body = json.loads(body)["error"]["message"]
    return _excerpt(scrub(str(body)))


def _refused(endpoint: LiveEndpoint, status: int, text: str) -> EndpointError:
    reasons = {
        401: ("the key was refused", "Regenerate the endpoint's keys."),
        403: ("the identity may not use it", "Check the roles on the endpoint."),
        404: ("there is no such deployment", "Look at the endpoint in the studio."),
        408: ("it took longer than the request time-out", "Lower serving.max_new_tokens."),
        413: ("the request is too large", "Choose another dataset.seed."),
        424: ("the model itself failed", "Read the deployment's logs in the studio."),
        429: ("it has too many requests", "Raise serving.instances or ask again."),
        504: ("it took longer than the request time-out", "Lower serving.max_new_tokens."),
    }
    reason, advice = reasons.get(status, ("it failed", "Read the deployment's logs in the studio."))
    return EndpointError(
        f"Endpoint {endpoint.endpoint}, deployment {endpoint.deployment}, answered {status}: "
        f"{reason}: {text}" + ("" if text.endswith((".", "!", "?")) else "."),
        advice,
    )


def reply_text(body: str, endpoint: str) -> str:
    """The assistant's text in an endpoint's answer; EndpointError where there is none.

    Known shapes: {"output": text}, {"0": text} (a table's only column), a list of one of the
    shapes, a bare text, a message, and the choices of the chat-completions API.
    """
    if not body.strip():
        raise _malformed(endpoint, body, "it is empty")
    try:
        answer = json.loads(body)
        if isinstance(answer, str) and answer.lstrip().startswith(("{", "[")):
            answer = json.loads(answer)  # some scoring scripts encode their answer twice
    except ValueError as error:
        raise _malformed(endpoint, body, "it is not JSON") from error
    text = _text_in(answer)
    if text is None:
        raise _malformed(endpoint, body, "it has no reply in a known shape")
    if not text.strip():
        raise _malformed(endpoint, body, "its reply is empty")
    return text.strip()


def _text_in(answer: Any) -> str | None:
    match answer:
        case str():
            return answer
        case {"output": inner} | {"0": inner} | [inner]:
            return _text_in(inner)
        case {"choices": [{"message": {"content": str(inner)}}, *_]}:
            return inner
        case {"role": "assistant", "content": str(inner)} | {"generated_text": str(inner)}:
            return inner
        case [*_, {"role": "assistant", "content": str(inner)}]:
            return inner
    return None


def _malformed(endpoint: str, body: str, reason: str) -> EndpointError:
    return EndpointError(
        f"The answer of endpoint {endpoint} cannot be used: {reason}: {_excerpt(body)!r}.",
        "Read the deployment's logs in the studio, or try another `dataset.seed`.",
    )


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_EXCERPT else line[:_LONGEST_EXCERPT] + " ..."


def reply_markdown(reply: Reply) -> str:
    """The conversation, quoted, and below it the model's reply beside the expected one."""

    def quote(text: str) -> str:
        return "\n".join(f"> {line}" for line in text.splitlines())

    parts = [
        f"**{message['role']}**\n\n{quote(message['content'])}" for message in reply.conversation
    ]
    heads = ("the data expect", f"the fine-tuned model says ({reply.seconds:.1f} s)")
    both = [wrapped_cell(reply.expected), wrapped_cell(reply.reply)]
    return "\n\n".join([*parts, markdown_table(heads, [both])])
