"""The client for a Prefect server repeats what a busy data base has refused."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from deployments.prefect_http import prefect_http


class Busy(BaseHTTPRequestHandler):
    """Refuses as many requests as `refusals` says, and counts all."""

    refusals = 0
    asked = 0

    def do_DELETE(self) -> None:
        type(self).asked += 1
        busy = self.asked <= self.refusals
        self.send_response(503 if busy else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Busy.asked = 0
    listening = HTTPServer(("127.0.0.1", 0), Busy)
    thread = Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}/api"
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.mark.parametrize(
    ("refusals", "status", "asked"), [(0, 204, 1), (3, 204, 4), (1000, 503, 10)]
)
def test_a_busy_server_is_asked_again(server: str, refusals: int, status: int, asked: int) -> None:
    Busy.refusals = refusals
    with prefect_http(server) as client:
        assert client.delete("/deployments/1").status_code == status
    assert Busy.asked == asked
