"""The process that serves MLflow tracking and its UI: MLflow's own server application, once.

`mlflow server` would start a supervisor, several workers and a job queue; this is one process on
one event loop. It adds what the tracking protocol lacks and Azure ML has: runs whose id is the
job's name, and one folder of artifacts a run, shared with the blob store.
"""

import argparse
import asyncio
import os
import socket
import sqlite3
import sys
import threading
import time
import warnings
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.tracking_history import add_run_history
from emulator.tracking_journal import Journal

PARENT_TAG = "mlflow.parentRunId"
ROOT_TAG = "mlflow.rootRunId"


def artifact_uri(run_id: str) -> str:
    """Where the artifacts of a run lie, as MLflow's artifact proxy names it."""
    return f"mlflow-artifacts:/ExperimentRun/dcid.{run_id}"


def configure(state: Path, artifacts: Path) -> None:
    """Set MLflow's server up through the environment, which it reads when it is imported."""
    database = state / "mlflow" / "mlflow.sqlite"
    database.parent.mkdir(parents=True, exist_ok=True)
    _check(database)
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
        "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{database}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/MLflow",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        os.environ.pop(variable, None)
    # The server does without these (azureml is MLflow's client of the real service): importing
    # them would cost a quarter of its memory and of its start.
    for package in ("azureml", "pyarrow", "scipy"):
        sys.modules[package] = None  # type: ignore[assignment]


def _check(database: Path) -> None:
    """End the process when the database cannot be used; MLflow would try for two minutes."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        advice = "Restore it, or move it away to begin anew."
        raise SystemExit(f"{database}: {error}. {advice}") from error


def build_app(state: Path) -> ASGIApp:
    """MLflow's application, which takes the journal in first; call `configure` before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server.fastapi_app import app
        from mlflow.server.handlers import _get_tracking_store

    _adjust_database()
    add_run_history(app, state)
    store, journal, lock = _get_tracking_store(), Journal(state), threading.Lock()

    async def after_the_journal(scope: Scope, receive: Receive, send: Send) -> None:
        if journal:
            await run_in_threadpool(take_in, store, journal, lock)
        await app(scope, receive, send)

    return after_the_journal


def take_in(store: Any, journal: Journal, lock: threading.Lock) -> None:
    """Write down what the emulator noted of its jobs. What MLflow does not allow is passed over."""
    from mlflow.entities import RunStatus

    with lock:
        for entry in journal.entries():
            try:
                if "clear" in entry:
                    _empty(store)
                elif run := entry.get("create"):
                    given = (entry["experiment"], entry["name"], entry["tags"], entry["parent"])
                    create_run(store, run, *given, began=entry["time"])
                else:
                    status = RunStatus.from_string(entry["status"])
                    store.update_run_info(entry["end"], status, entry["time"], None)
            except Exception as error:  # one that cannot be written must not hold up all others
                print(f"{entry}: {error}", file=sys.stderr, flush=True)


def _empty(store: Any) -> None:
    """Delete every row; MLflow's default experiment is there again."""
    from mlflow.store.db.base_sql_model import Base

    with store.engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    with store.ManagedSessionMaker(read_only=False) as session:
        store._create_default_experiment(session)


def _adjust_database() -> None:
    """Give every run, whoever creates it, what Azure ML gives it: a folder and a root.

    A logged model lies in the folder of the run that logged it, under its name: there clients of
    all versions look for it, and there the workspace's models point to.
    """
    from mlflow.store.tracking.dbmodels.models import SqlLoggedModel, SqlRun, SqlTag
    from sqlalchemy import Engine, event
    from sqlalchemy.orm import Session

    @event.listens_for(SqlRun, "init")
    def own_folder(run: object, arguments: object, values: dict[str, Any]) -> None:
        values["artifact_uri"] = artifact_uri(values["run_uuid"])

    @event.listens_for(SqlLoggedModel, "init")
    def folder_of_its_run(model: object, arguments: object, values: dict[str, Any]) -> None:
        if run := values.get("source_run_id"):
            values["artifact_location"] = f"{artifact_uri(run)}/{values['name']}"

    @event.listens_for(Session, "before_flush")
    def root(session: Session, context: object, instances: object) -> None:
        for run in [row for row in session.new if isinstance(row, SqlRun)]:
            tags = {tag.key: tag.value for tag in run.tags}
            parent = tags.get(PARENT_TAG)
            query = session.query(SqlTag.value).filter_by(run_uuid=parent, key=ROOT_TAG)
            found = query.scalar() if parent else run.run_uuid
            if ROOT_TAG not in tags:
                run.tags.append(SqlTag(key=ROOT_TAG, value=found or parent))

    @event.listens_for(Engine, "connect")
    def without_long_syncs(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")


def create_run(
    store: Any,
    run_id: str,
    experiment: str,
    name: str,
    tags: dict[str, str],
    parent: str | None,
    began: int,
) -> None:
    """Create a run with a given id in MLflow's SQL store, unless it exists.

    The experiment is made if there is none of that name; `began` is in milliseconds.
    Raises MlflowException for an id, name or tag that MLflow does not allow.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
    from mlflow.utils import validation
    from sqlalchemy.exc import IntegrityError

    checks: Any = validation
    checks._validate_run_id(run_id)
    with suppress(MlflowException):
        store.get_run(run_id)
        return
    all_tags = {"mlflow.user": "local"} | tags | {"mlflow.runName": name}
    if parent:
        all_tags[PARENT_TAG] = parent
    checked = [checks._validate_tag(key, value) for key, value in all_tags.items()]
    row = SqlRun(
        run_uuid=run_id,
        name=name,
        experiment_id=int(_experiment_id(store, experiment)),
        user_id="local",
        source_type="JOB",
        source_name="",
        source_version="",
        entry_point_name="",
        status="RUNNING",
        start_time=began,
        lifecycle_stage="active",
    )
    row.tags = [SqlTag(key=tag.key, value=tag.value) for tag in checked]
    with suppress(MlflowException, IntegrityError):
        with store.ManagedSessionMaker(read_only=False) as session:
            session.add(row)
        return
    # Somebody else created it meanwhile; any other reason comes up here.
    store.get_run(run_id)


def _experiment_id(store: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = store.get_experiment_by_name(name)
    if found is None:
        # Two jobs may start at once: the second creation fails, and finds the first's.
        with suppress(MlflowException):
            store.create_experiment(name)
        found = store.get_experiment_by_name(name)
    elif found.lifecycle_stage == "deleted":
        store.restore_experiment(found.experiment_id)
    identifier: str = found.experiment_id
    return identifier


async def serve(state: Path, listener: socket.socket, parent: int, idle_seconds: float) -> None:
    """Serve on a bound socket until the parent is gone or nothing was asked for a while."""
    import uvicorn

    config = uvicorn.Config(
        build_app(state), lifespan="off", log_level="warning", timeout_keep_alive=75
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if serving.done():
        raise SystemExit("uvicorn did not start")
    print("LISTENING", listener.getsockname()[1], flush=True)
    seen, last = -1, time.monotonic()
    while not serving.done():
        served = server.server_state
        if served.tasks or served.total_requests != seen:
            seen, last = served.total_requests, time.monotonic()
        idle = idle_seconds and time.monotonic() - last > idle_seconds
        if os.getppid() != parent or idle:
            server.should_exit = True
        await asyncio.wait([serving], timeout=0.5)
    await serving


def main(arguments: list[str] | None = None) -> None:
    parent = os.getppid()
    parser = argparse.ArgumentParser(prog="emulator.tracking_server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the emulator's state folder")
    parser.add_argument("--artifacts", type=Path, help="default: blobs/azureml below the state")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--socket", type=int, help="an inherited listening socket, not a port")
    parser.add_argument("--idle", type=float, default=0, help="seconds; 0: never stop")
    options = parser.parse_args(arguments)
    if options.socket is None:
        listener = socket.create_server(("127.0.0.1", options.port))
    else:
        listener = socket.socket(fileno=options.socket)
    state = options.state.resolve()
    configure(state, options.artifacts or state / "blobs" / "azureml")
    asyncio.run(serve(state, listener, parent, options.idle))


if __name__ == "__main__":
    main()
