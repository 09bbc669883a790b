"""The sweep from a terminal: python -m flows.sweep [--apply]"""

import argparse
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

from rich.console import Console
from rich.table import Table

from flows.command_line import DEFAULT_BLOCK, ensure_default_block, quiet_user_errors
from tasks.errors import explain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep in this process: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep",
        description="Find jobs and endpoints that no living run owns any more, and end them.",
    )
    parser.add_argument(
        "--apply", action="store_true", help="cancel and delete; otherwise only say what would be"
    )
    parser.add_argument(
        "--workspace",
        default=DEFAULT_BLOCK,
        metavar="BLOCK",
        help="name of the Azure ML Workspace block (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    from flows.sweep import sweep, sweep_rows

    if options.workspace == DEFAULT_BLOCK:
        ensure_default_block()
    quiet_user_errors()
    try:
        report = sweep(options.workspace, dry_run=not options.apply)
    except Exception as error:
        clear = explain(error, "The sweep")
        if clear is None:
            raise
        print(f"error: {clear}", file=sys.stderr)
        return 1
    table = Table(title="sweep" if options.apply else "sweep, dry run")
    rows = sweep_rows(report.decisions, report.dry_run)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
    return 0
