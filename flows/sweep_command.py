"""The sweep from a terminal: python -m flows.sweep [--apply]"""

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from flows.command_line import add_workspace, carry_out
from flows.sweep import SweepReport, sweep, sweep_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep in this process: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep",
        description="Find jobs and endpoints that no living run owns any more, and end them.",
    )
    parser.add_argument(
        "--apply", action="store_true", help="cancel and delete; otherwise only say what would be"
    )
    add_workspace(parser)
    options = parser.parse_args(arguments)
    return carry_out(
        lambda: sweep(options.workspace, dry_run=not options.apply), options.workspace, _show
    )


def _show(report: SweepReport) -> None:
    table = Table(title="sweep, dry run" if report.dry_run else "sweep")
    rows = sweep_rows(report.decisions, report.dry_run)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
