"""The finetune flow from a terminal: python -m flows.finetune --config FILE.yaml"""

import argparse
from collections.abc import Sequence

from flows.command_line import run_with_settings, settings_parser
from flows.finetune import finetune
from tasks.config import FinetuneConfig

SWITCHES = (
    ("plan_only", "plan_only", "print the plan and stop: nothing is billed"),
    ("accept_retired", "model.accept_retired", "go on although the model is retired"),
    ("keep_endpoint", "serving.keep_endpoint", "leave the endpoint running, and billed"),
)


def finetune_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = settings_parser(
        "finetune", "Fine-tune a chat model with Azure ML, deploy it, ask it, tear it down."
    )
    for option, _, text in SWITCHES:
        parser.add_argument(f"--{option.replace('_', '-')}", action="store_true", help=text)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow in this process: 0 completed, 1 failed, 2 wrong usage or nowhere to write."""
    return run_with_settings(
        finetune_parser(),
        FinetuneConfig,
        lambda config, options: finetune(config, options.workspace),
        arguments,
        [(option, setting) for option, setting, _ in SWITCHES],
    )
