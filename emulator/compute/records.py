"""What is known of each job's run: its state, its times, its relatives, its error."""

from typing import TYPE_CHECKING, Any

from emulator.http import timestamp

if TYPE_CHECKING:
    from emulator.core import Emulator

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})

Error = dict[str, str]


def job_name(path: str) -> str:
    return path.rpartition("/")[2]


def artifact_prefix(name: str) -> str:
    """The folder of a job's logs and artifacts in the artifact container."""
    return f"ExperimentRun/dcid.{name}"


def execution_log(name: str) -> str:
    return f"{artifact_prefix(name)}/logs/azureml/executionlogs.txt"


def user_log(name: str) -> str:
    return f"{artifact_prefix(name)}/user_logs/std_log.txt"


def build_log(name: str) -> str:
    """The log of an environment's build, as the service names it; only jobs that wait have it."""
    return f"{artifact_prefix(name)}/azureml-logs/20_image_build_log.txt"


def system_log(name: str) -> str:
    return f"{artifact_prefix(name)}/system_logs/emulator.txt"


class RunRecords:
    """The document `runs`, by job name, and the status that each job's resource shows.

    A run: status, startTimeUtc, endTimeUtc, error ({"code", "message"} or None), parent, root,
    children (names), experiment, displayName, outputs ({name: {"uri", "type"}}), logs (blob
    names in the artifact container), workspace (its path).
    """

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._runs = emulator.store.document("runs")

    def begin(
        self,
        path: str,
        resource: dict[str, Any],
        *,
        parent: str | None,
        root: str,
        outputs: dict[str, dict[str, str]],
        logs: list[str],
    ) -> None:
        """Record a new run, NotStarted, and tell its parent of it."""
        properties = resource["properties"]
        name = resource["name"]
        self._runs.put(
            name,
            {
                "status": "NotStarted",
                "startTimeUtc": None,
                "endTimeUtc": None,
                "error": None,
                "parent": parent,
                "root": root,
                "children": [],
                "experiment": properties.get("experimentName") or "Default",
                "displayName": properties.get("displayName") or name,
                "outputs": outputs,
                "logs": logs,
                "workspace": path.rpartition("/jobs/")[0],
            },
        )
        properties["status"] = "NotStarted"
        self._emulator.store.put(path, resource)
        if parent and (run := self._runs.get(parent)):
            self._runs.put(parent, run | {"children": [*run["children"], name]})

    def path(self, name: str) -> str:
        """The path of a job's resource."""
        run = self.get(name) or {}
        workspace = run.get("workspace") or self._emulator.config.workspace_path
        return f"{workspace}/jobs/{name}"

    def get(self, name: str) -> dict[str, Any] | None:
        run: dict[str, Any] | None = self._runs.get(name)
        return run

    def living(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, run) for name, run in self._runs.items() if run["status"] not in TERMINAL]

    def living_below(self, name: str) -> list[str]:
        """The names of a job and all jobs below it that have not ended."""
        run = self.get(name)
        if run is None:
            return []
        below = [living for child in run["children"] for living in self.living_below(child)]
        return below if run["status"] in TERMINAL else [name, *below]

    def add_log(self, name: str, blob: str) -> None:
        """Show one more log beside those that every job has."""
        if (run := self.get(name)) and blob not in run["logs"]:
            self._runs.put(name, run | {"logs": [blob, *run["logs"]]})

    def reused(
        self, path: str, outputs: dict[str, dict[str, str]], properties: dict[str, str]
    ) -> None:
        """Show where the outputs of a job are that another job has written."""
        if run := self.get(job_name(path)):
            self._runs.put(job_name(path), run | {"outputs": outputs})
        if resource := self._emulator.store.get(path):
            resource["properties"]["properties"] |= properties
            for name, place in outputs.items():
                resource["properties"]["outputs"][name]["uri"] = place["uri"]
            self._emulator.store.put(path, resource)

    def rename(self, name: str, display_name: str) -> None:
        if run := self.get(name):
            self._runs.put(name, run | {"displayName": display_name})

    def forget(self, path: str) -> None:
        self._runs.delete(job_name(path))
        self._emulator.store.delete(path)

    def move(self, path: str, status: str, error: Error | None = None) -> bool:
        """Give a job its next status. An ended job stays as it ended; says whether it moved."""
        name = job_name(path)
        run = self._runs.get(name)
        if run is None or run["status"] in TERMINAL or run["status"] == status:
            return False
        if run["status"] == "CancelRequested" and status not in TERMINAL:
            return False
        now = timestamp()
        run["status"] = status
        if status == "Running" and run["startTimeUtc"] is None:
            run["startTimeUtc"] = now
        if status in TERMINAL:
            run["endTimeUtc"] = now
            run["error"] = error
        self._runs.put(name, run)
        resource = self._emulator.store.get(path)
        if resource is not None:
            resource["properties"]["status"] = status
            self._emulator.store.put(path, resource)
        self._log(name, run, f"{run['displayName']} ({name}): {status}")
        return True

    def _log(self, name: str, run: dict[str, Any], line: str) -> None:
        """One line a transition in the execution logs of the job and of all above it."""
        if execution_log(name) in run["logs"]:
            self.append(execution_log(name), f"[{timestamp()[:19]}Z] {line}")
        if run["parent"] and (parent := self.get(run["parent"])):
            self._log(run["parent"], parent, line)

    def append(self, blob: str, line: str) -> None:
        """Add a line to a log in the artifact container."""
        path = self._emulator.blobs.path(self._emulator.config.artifact_container, blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")
