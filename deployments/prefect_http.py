"""An HTTP client for a Prefect server, patient when the server's data base is busy."""

import time

import httpx

_BUSY_TRIES = 10


class _PatientTransport(httpx.HTTPTransport):
    """Repeats what the server has not done: 503 is its answer to a write that met another one."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for tried in range(_BUSY_TRIES):
            answer = super().handle_request(request)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            if tried < _BUSY_TRIES - 1:
                answer.close()
                time.sleep(min(1.0, 0.1 * 2**tried))
        return answer


def prefect_http(api_url: str) -> httpx.Client:
    """A client for the server's API at `api_url`; every answer may take 30 seconds.

    The loopback is never behind a proxy, whatever the environment says.
    """
    return httpx.Client(
        base_url=api_url, transport=_PatientTransport(), trust_env=False, timeout=30
    )
