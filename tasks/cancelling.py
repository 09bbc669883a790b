"""Cancelling a run that no worker looks after.

When a run is cancelled in Prefect's UI or by its command line, the worker that started it ends its
process. Of a run that was started by hand nobody does: it would go on, and its job with it. So such
a run looks for itself, and interrupts itself as Ctrl-C does.
"""

import contextvars
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.states import Cancelled

_SECONDS = 5.0
_STARTED_BY_A_WORKER = "PREFECT__FLOW_RUN_ID"
_cancelled: set[str] = set()
_stopped: set[str] = set()


@contextmanager
def cancellable(flow_run_id: str) -> Iterator[None]:
    """Raises KeyboardInterrupt in the block once somebody has asked Prefect to cancel the run.

    A block that is interrupted, by that or by a signal, is remembered: `was_stopped` tells.
    """
    try:
        with _watched(flow_run_id):
            yield
    except (KeyboardInterrupt, TerminationSignal):
        _stopped.add(flow_run_id)
        raise


def was_stopped(flow_run_id: str) -> bool:
    """Whether somebody has ended the run on purpose, in this process."""
    return flow_run_id in _stopped


@contextmanager
def _watched(flow_run_id: str) -> Iterator[None]:
    here = threading.current_thread() is threading.main_thread()  # where signals arrive
    if os.environ.get(_STARTED_BY_A_WORKER) or not here:
        yield
        return
    ended = threading.Event()
    # The copy brings along which server is Prefect's.
    watch = partial(contextvars.copy_context().run, _watch, flow_run_id, ended)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def confirm_cancelled(flow_run_id: str) -> None:
    """Tell Prefect that the run it was asked to cancel has ended; nothing for any other run."""
    if flow_run_id in _cancelled:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(uuid.UUID(flow_run_id), Cancelled(), force=True)


def _watch(flow_run_id: str, ended: threading.Event) -> None:
    main = threading.main_thread().ident
    with get_client(sync_client=True) as client:
        while not ended.wait(_SECONDS):
            try:
                state = client.read_flow_run(uuid.UUID(flow_run_id)).state
            except (httpx.HTTPError, ObjectNotFound):
                continue  # the server is busy or away: asked again at the next look
            if state is not None and state.is_cancelling() and main and not ended.is_set():
                _cancelled.add(flow_run_id)
                signal.pthread_kill(main, signal.SIGINT)
                return
