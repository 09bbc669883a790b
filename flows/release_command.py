"""The release flow from a terminal: python -m flows.release NAME:VERSION"""

from collections.abc import Sequence

from flows.command_line import run_with_settings, settings_parser
from flows.release import release
from tasks.release_config import ReleaseConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the release in this process: 0 released or not approved, 1 failed, 2 wrong usage."""
    parser = settings_parser(
        "release", "Put a registered model in the place of the one that an endpoint serves."
    )
    parser.add_argument("model", metavar="NAME:VERSION", help="the registered model")
    return run_with_settings(
        parser,
        ReleaseConfig,
        lambda config, options: release(options.model, config, options.workspace),
        arguments,
    )
