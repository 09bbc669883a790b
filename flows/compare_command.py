"""The compare flow from a terminal: python -m flows.compare --config FILE.yaml"""

from collections.abc import Sequence

from flows.command_line import run_with_settings, settings_parser
from flows.compare import compare
from tasks.compare_config import CompareConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in this process: 0 whatever became of the best model, 1 failed, 2 wrong usage."""
    return run_with_settings(
        settings_parser(
            "compare", "Fine-tune several configurations, compare the models, release the best."
        ),
        CompareConfig,
        lambda config, options: compare(config, options.workspace),
        arguments,
    )
