"""Run history: a job's own error text and its log files, read while it runs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.rest import get_json, plain, signed_in

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential

_LOG = re.compile(
    r"^(logs/azureml/executionlogs\.txt|user_logs/std_log[^/]*\.txt|azureml-logs/\d{2}.*\.txt)$"
)
_DEPTH = 3
_NOT_BEGUN = ("NotStarted", "Queued", "Preparing", "Provisioning", "Starting")


@dataclass(frozen=True)
class RunDetails:
    """What run history says about one run. `logs`: path -> URL that carries its own signature."""

    status: str
    logs: dict[str, str]
    error: str | None


@dataclass
class Step:
    """One run below the job, or the job itself (its `title` is then empty)."""

    name: str
    title: str
    status: str
    children: int = 0


@dataclass
class _Tail:
    offset: int = 0
    rest: bytes = b""


@dataclass
class RunHistory:
    """Reads the run history of one workspace. Every method raises what the service raises."""

    client: "MLClient"
    credential: "TokenCredential"
    _tails: dict[str, _Tail] = field(default_factory=dict)
    _read_fully: set[str] = field(default_factory=set)
    _leaves: set[str] = field(default_factory=set)

    def details(self, name: str) -> RunDetails:
        """Status, error text and log files of the run `name`."""
        body = get_json(self._signed_in, f"{self._address}/runs/{name}/details")
        logs = {path: url for path, url in (body.get("logFiles") or {}).items() if _LOG.match(path)}
        return RunDetails(str(body.get("status") or ""), logs, _error_text(body.get("error")))

    def steps(self, job: str) -> list[Step]:
        """The runs below the job, parents before children."""
        return list(self._below(job, 1))

    def new_lines(self, step: Step) -> list[str]:
        """The whole log lines that the run has written since the last call."""
        if step.name in self._read_fully:
            return []
        details = self.details(step.name)
        lines: list[str] = []
        for url in (details.logs[path] for path in sorted(details.logs)):
            lines += self._new_lines(step.name, url)
        if details.status in ("Completed", "Failed", "Canceled"):
            self._read_fully.add(step.name)
            for key, tail in self._tails.items():
                if key.startswith(f"{step.name} ") and tail.rest:
                    lines.append(tail.rest.decode("utf-8", "replace"))
                    tail.rest = b""
        return lines

    def unfinished_lines(self, step: Step) -> list[str]:
        """What the run has written since its last whole line: a bar as it stands, say."""
        rests = [tail.rest for key, tail in self._tails.items() if key.startswith(f"{step.name} ")]
        bars = [rest.decode("utf-8", "replace").rstrip("\r").split("\r")[-1] for rest in rests]
        return [bar for bar in bars if bar]

    def _below(self, parent: str, depth: int) -> Iterator[Step]:
        for child in self._children(parent):
            name, status = str(child["runId"]), str(child.get("status") or "")
            step = Step(name, str(child.get("displayName") or name), status)
            below: list[Step] = []
            if depth < _DEPTH and name not in self._leaves:
                below = list(self._below(name, depth + 1))
                if not below and status not in _NOT_BEGUN:
                    self._leaves.add(name)  # a graph has its steps from its start on
            step.children = len(below)
            yield step
            yield from below

    def _children(self, run: str) -> list[dict[str, Any]]:
        body = get_json(self._signed_in, f"{self._address}/runs/{run}/children")
        children: list[dict[str, Any]] = body.get("value") or []
        return children

    def _new_lines(self, run: str, url: str) -> list[str]:
        from azure.core.rest import HttpRequest

        tail = self._tails.setdefault(f"{run} {url.split('?')[0]}", _Tail())
        headers = {"x-ms-range": f"bytes={tail.offset}-"} if tail.offset else {}
        response = self._plain.send_request(HttpRequest("GET", url, headers=headers))
        if response.status_code in (404, 416):  # not written yet, or nothing new
            return []
        response.raise_for_status()
        content = response.content
        if response.status_code == 200:  # the range was not honoured: the whole file
            content = content[tail.offset :]
        tail.offset += len(content)
        *whole, tail.rest = (tail.rest + content).split(b"\n")
        return [line.decode("utf-8", "replace").split("\r")[-1].rstrip() for line in whole]

    @cached_property
    def _address(self) -> str:
        """Address of the workspace's run history."""
        workspace = self.client.workspaces.get(self.client.workspace_name)
        services = get_json(self._plain, str(workspace.discovery_url))
        base = (services.get("history") or services["api"]).rstrip("/")
        return f"{base}/history/v1.0{workspace.id}"

    @cached_property
    def _plain(self) -> Any:
        return plain()

    @cached_property
    def _signed_in(self) -> Any:
        return signed_in(self.credential)


def _error_text(error: Any) -> str | None:
    """The innermost text of run history's error, with its code."""
    if not error:
        return None
    inner = error.get("error", error) if isinstance(error, dict) else {"message": str(error)}
    message = " ".join(str(inner.get("message") or "").split())
    return f"{inner.get('code') or 'Error'}: {message}" if message else str(inner.get("code"))
