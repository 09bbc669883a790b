"""Whether a new deployment holds: requests to it and to the old one, and the limits on them."""

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from prefect import task

from tasks.artifacts import run_logger
from tasks.asking import reply_text, request_body
from tasks.clients import REMOTE, explained, workspace_client
from tasks.errors import EndpointError
from tasks.release_config import Checks
from tasks.release_report import Measured, ReleaseStep
from tasks.scrubbing import scrub
from tasks.values import LiveEndpoint

if TYPE_CHECKING:
    import requests

SMOKE_CONVERSATION = (
    {"role": "user", "content": "Good morning! What can you help me with?"},
    {"role": "assistant", "content": "Good morning! I can answer questions and help with texts."},
    {"role": "user", "content": "Please name three colours of the rainbow."},
    {"role": "assistant", "content": "Red, green and blue are three colours of the rainbow."},
)
"""Asked of every new deployment, so that their answers can be compared."""

_DEPLOYMENT_HEADER = "azureml-model-deployment"
_PARALLEL = 4
"""Requests under way at a time, to each of the two deployments at most half of them."""
_UNNOTICED_SECONDS = 0.25
"""A slow-down by less than this is nothing that a person or a program would notice."""
_LONGEST_REASON = 200
_MOST_REASONS = 3


@dataclass(frozen=True)
class Probe:
    """One request of a check: how long its answer took, and what was wrong with it ("": good)."""

    deployment: str
    seconds: float
    problem: str = ""


@task(name="check", task_run_name="check {new.deployment} at {share} %", **REMOTE)
def check_deployment(
    workspace: str,
    new: LiveEndpoint,
    old: str | None,
    share: int,
    mirrored: int,
    checks: Checks,
    max_new_tokens: int,
) -> ReleaseStep:
    """Ask the new deployment, and the old one as often, and hold the new one against the limits.

    `share`, `mirrored`: percent of the traffic that the new one answers and gets a copy of.
    """
    client = workspace_client(workspace)
    with explained(f"Reading the keys of endpoint {new.endpoint}"):
        keys = client.online_endpoints.get_keys(new.endpoint)
    key = getattr(keys, "primary_key", None) or getattr(keys, "access_token", None)
    names = [new.deployment] + ([old] if old else [])
    probes = _Prober(new.scoring_uri, str(key), max_new_tokens, checks).ask(names)
    measured = {name: measure(name, probes) for name in names}
    step = ReleaseStep(
        share=share,
        mirrored=mirrored,
        new=measured[new.deployment],
        old=measured[old] if old else None,
    )
    step = step.model_copy(update={"problems": problems(step.new, step.old, checks)})
    logger = run_logger()
    logger.info("%s: the new deployment %s: %s", step.name, new.deployment, step.new)
    if step.old:
        logger.info("%s: the old deployment %s: %s", step.name, old, step.old)
    return step


def measure(deployment: str, probes: Sequence[Probe]) -> Measured:
    """The requests to one deployment, counted."""
    own = [probe for probe in probes if probe.deployment == deployment]
    times = sorted(probe.seconds for probe in own if not probe.problem)
    reasons = list(dict.fromkeys(probe.problem for probe in own if probe.problem))
    return Measured(
        deployment=deployment,
        requests=len(own),
        errors=len(own) - len(times),
        p50=quantile(times, 0.5),
        p95=quantile(times, 0.95),
        reasons=tuple(reasons[:_MOST_REASONS]),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that is at least as large as that share of them; None of no values."""
    if not ordered:
        return None
    return round(ordered[max(0, ceil(share * len(ordered)) - 1)], 4)


def problems(new: Measured, old: Measured | None, checks: Checks) -> tuple[str, ...]:
    """The limits that the new deployment does not hold, a sentence each."""
    found = []
    if new.errors > checks.most_errors * new.requests:
        told = f": {'; '.join(new.reasons)}" if new.reasons else ""
        found.append(
            f"{new.errors} of {new.requests} requests failed, {checks.most_errors:.0%} may{told}"
        )
    if new.p95 is not None and new.p95 > checks.slowest_seconds:
        found.append(
            f"95 of 100 replies came within {new.p95:.2f} s, {checks.slowest_seconds:g} s are "
            "allowed"
        )
    if new.p50 is not None and old is not None and old.p50 is not None:
        allowed = max(checks.slowdown * old.p50, old.p50 + _UNNOTICED_SECONDS)
        if new.p50 > allowed:
            found.append(
                f"half of the replies took longer than {new.p50:.2f} s, with the old deployment "
                f"{old.p50:.2f} s: {allowed:.2f} s are allowed"
            )
    return tuple(found)


class _Prober:
    """Sends the requests of one check, at even times."""

    def __init__(self, uri: str, key: str, max_new_tokens: int, checks: Checks) -> None:
        self._uri = uri
        self._key = key
        self._checks = checks
        asked = [dict(message) for message in SMOKE_CONVERSATION[:-1]]
        self._body = json.dumps(request_body(asked, max_new_tokens)).encode()
        self._stop = threading.Event()
        self._own = threading.local()

    def ask(self, deployments: Sequence[str]) -> list[Probe]:
        """As many requests to each deployment as the checks want, spread over their seconds.

        No more are sent once the first deployment has failed more often than it may.
        """
        count, began = self._checks.requests, time.monotonic()
        allowed, failed = self._checks.most_errors * count, 0
        probes: list[Probe] = []
        with ThreadPoolExecutor(_PARALLEL) as pool:
            try:
                waiting = [
                    pool.submit(self._one, name, began + number * self._checks.seconds / count)
                    for number in range(count)
                    for name in deployments
                ]
                for future in waiting:
                    if (probe := future.result()) is None:
                        continue
                    probes.append(probe)
                    failed += bool(probe.problem) and probe.deployment == deployments[0]
                    if failed > allowed:
                        self._stop.set()
                if not self._stop.is_set():
                    self._stop.wait(began + self._checks.seconds - time.monotonic())
            finally:
                self._stop.set()
        return probes

    def _one(self, deployment: str, due: float) -> Probe | None:
        if self._stop.wait(max(0.0, due - time.monotonic())) or self._stop.is_set():
            return None
        began = time.monotonic()
        problem = self._problem(deployment)
        return Probe(deployment, time.monotonic() - began, problem)

    def _problem(self, deployment: str) -> str:
        import requests

        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            _DEPLOYMENT_HEADER: deployment,
        }
        limit = max(1.0, 2 * self._checks.slowest_seconds)
        try:
            answer = self._session().post(
                self._uri, data=self._body, headers=headers, timeout=(10, limit)
            )
        except requests.RequestException as error:
            return f"no answer ({type(error).__name__})"
        if answer.status_code != 200:
            text = " ".join(scrub(answer.text).split())[:_LONGEST_REASON]
            return f"{answer.status_code} {text}".strip()
        try:
            reply_text(answer.text, deployment)
        except EndpointError as error:
            return error.message[:_LONGEST_REASON]
        return ""

    def _session(self) -> "requests.Session":
        """One a thread, so that its connection is kept."""
        import requests

        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
        return session
