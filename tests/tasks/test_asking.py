import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tasks.asking import (
    _answer_in_trace,
    reply_markdown,
    reply_text,
    request_body,
    split_conversation,
)
from tasks.errors import DataError, EndpointError
from tasks.explaining import status_of
from tasks.values import Reply

USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "good day"}


def test_the_last_answer_is_what_is_expected() -> None:
    asked, expected = split_conversation([USER, ANSWER, USER, {**ANSWER, "content": "again"}])
    assert asked == [USER, ANSWER, USER]
    assert expected == "again"


def test_a_question_after_the_last_answer_is_left_out() -> None:
    assert split_conversation([USER, ANSWER, USER]) == ([USER], "good day")


@pytest.mark.parametrize("conversation", [[], [USER], [ANSWER, USER]])
def test_a_conversation_without_an_answer_is_refused(conversation: list[dict[str, str]]) -> None:
    with pytest.raises(DataError, match="no answer of an assistant"):
        split_conversation(conversation)


def test_the_request_has_the_shape_of_a_chat_completion_deployment() -> None:
    assert request_body([USER], 200) == {
        "input_data": {
            "input_string": [[USER]],
            "parameters": {
                "temperature": 0.6,
                "top_p": 0.9,
                "do_sample": True,
                "max_new_tokens": 200,
            },
        },
        "params": {},
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"output": " hi "},
        {"output": ["hi"]},
        [{"0": "hi"}],
        "hi",
        ["hi"],
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]},
        {"output": [USER, {"role": "assistant", "content": "hi"}]},
        {"generated_text": "hi"},
        json.dumps({"output": "hi"}),
    ],
)
def test_every_known_shape_gives_the_text(answer: object) -> None:
    assert reply_text(json.dumps(answer), "e") == "hi"


@pytest.mark.parametrize("body", ["", "<html>", "{}", "[]", "null", '{"output": 3}', "[1, 2]"])
def test_a_malformed_answer_is_an_error_that_shows_it(body: str) -> None:
    with pytest.raises(EndpointError, match="endpoint e cannot be used"):
        reply_text(body, "e")


@pytest.mark.parametrize("body", ['{"output": ""}', '"  "', '[{"0": "\\n"}]'])
def test_an_empty_reply_is_an_error(body: str) -> None:
    with pytest.raises(EndpointError, match="its reply is empty"):
        reply_text(body, "e")


def test_a_long_answer_is_cut_in_the_error() -> None:
    with pytest.raises(EndpointError) as caught:
        reply_text(json.dumps({"x": "y" * 10_000}), "e")
    assert len(str(caught.value)) < 600


def test_the_reply_stands_beside_the_expected_one() -> None:
    text = reply_markdown(
        Reply(conversation=(USER,), expected="good day", reply="two\nlines", seconds=1.5)
    )
    assert "> hello" in text
    assert "| good day | two<br>lines |" in text


def test_a_reply_cannot_break_its_table_nor_become_html() -> None:
    reply = "a | b\n\n<script>alert(1)</script> " + "word " * 20
    text = reply_markdown(Reply(conversation=(USER,), expected="x", reply=reply, seconds=1.5))
    row = text.splitlines()[-1]
    assert row.startswith("| x | a \\| b<br><br>&lt;script&gt;")
    assert max(map(len, row.split("<br>"))) < 60


class _Answers(BaseHTTPRequestHandler):
    """Answers /STATUS with that status and the query, decoded, as body."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        body = unquote(query).encode()
        self.send_response(int(path.strip("/")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (408, '{"error": {"message": "too slow"}}', "too slow"),
        (424, '{"error": "a text"}', '{"error": "a text"}'),
        (400, "[]", "[]"),
        (502, "<html>bad gateway</html>", "<html>bad gateway</html>"),
    ],
)
def test_the_answer_is_known_where_the_sdk_trips_over_it(
    status: int, body: str, words: str
) -> None:
    from azure.ai.ml._utils._endpoint_utils import validate_response
    from azure.core import PipelineClient
    from azure.core.rest import HttpRequest

    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        client: PipelineClient[Any, Any] = PipelineClient(address, policies=[])
        response = client.send_request(HttpRequest("GET", f"{address}/{status}?{quote(body)}"))
        server.shutdown()
    with pytest.raises(Exception) as caught:  # noqa: PT011
        validate_response(response)
    assert status_of(caught.value) is None, "the SDK tells it by itself now"
    assert _answer_in_trace(caught.value) == (status, words)


def test_an_error_of_our_own_has_no_status() -> None:
    with pytest.raises(EndpointError) as caught:
        reply_text("", "e")
    assert _answer_in_trace(caught.value) is None
