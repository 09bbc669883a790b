"""Prefect's server: `python -m deployments.prefect_server OPTIONS` for `prefect server start ...`.

The one difference is where garbage is collected. On SQLite a writer waits up to 60 seconds for
another one, in a thread of its own. When Python's collector, which runs wherever memory is asked
for, meets a used-up statement of that writer in the server's main thread, it waits for the writer
there; and the other one, which the main thread would have to carry on with, never ends. So now and
then the whole server stands still for a minute. In a thread of its own the collector may wait.
"""

import gc
import sys
import threading
import time

_YOUNG_SECONDS = 0.5
_ALL_EVERY = 120
"""Every so many collections of young objects, all are looked through."""


def collect_in_a_thread() -> None:
    """Collect garbage in a thread of its own from now on, and nowhere else."""
    gc.disable()
    threading.Thread(target=_collect, name="garbage", daemon=True).start()


def _collect() -> None:
    turn = 0
    while True:
        time.sleep(_YOUNG_SECONDS)
        turn += 1
        gc.collect(2 if turn % _ALL_EVERY == 0 else 1)


def main() -> None:
    """Start the server in this process; the options are those of Prefect's own command."""
    collect_in_a_thread()
    sys.argv = ["prefect", "server", "start", *sys.argv[1:]]
    from prefect.cli import app

    app()


if __name__ == "__main__":
    main()
