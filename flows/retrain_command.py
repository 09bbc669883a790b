"""The retrain flow from a terminal: python -m flows.retrain --config FILE.yaml"""

from collections.abc import Sequence

from flows.command_line import run_with_settings, settings_parser
from flows.retrain import retrain
from tasks.retrain_config import RetrainConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in this process: 0 whatever became of the model, 1 failed, 2 wrong usage."""
    parser = settings_parser(
        "retrain", "Retrain when something is new, and release the model when it is better."
    )
    parser.add_argument("--force", action="store_true", help="retrain although nothing has changed")
    return run_with_settings(
        parser,
        RetrainConfig,
        lambda config, options: retrain(config, options.workspace),
        arguments,
        [("force", "force")],
    )
