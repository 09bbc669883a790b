"""The process of a parallel step: cut the input, hand mini-batches to workers, judge the end."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from emulator.parallel_step.batches import BatchError, cut
from emulator.parallel_step.dispatch import Settings, StepFailed, dispatch
from emulator.parallel_step.model_files import link
from emulator.parallel_step.report import Report


def read_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The step's own settings, and after `--` the arguments of the entry script."""
    place = arguments.index("--")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--entry-script", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--input-name", required=True)
    parser.add_argument("--tabular", action="store_true")
    parser.add_argument("--mini-batch-size", type=int)
    parser.add_argument("--partition-keys", nargs="*", default=[])
    parser.add_argument("--append-row-to")
    parser.add_argument("--model")
    parser.add_argument("--output-folder")
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--max-retries", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--mini-batch-error-threshold", type=int, default=-1)
    parser.add_argument("--error-threshold", type=int, default=-1)
    parser.add_argument("--logging-level", default="INFO")
    return parser.parse_args(arguments[:place]), arguments[place + 1 :]


def read_limits(arguments: list[str], error_threshold: int) -> tuple[int, float]:
    """Limits that Azure ML takes out of the entry script's arguments: items, percent of batches."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--error_threshold", type=int, default=error_threshold)
    parser.add_argument("--allowed_failed_percent", type=float, default=100.0)
    limits, _ = parser.parse_known_args(arguments)
    return limits.error_threshold, limits.allowed_failed_percent


def main() -> int:
    """Run the step; gives its exit code."""
    own, arguments = read_arguments(sys.argv[1:])
    items, percent = read_limits(arguments, own.error_threshold)
    settings = Settings(
        entry_script=own.entry_script,
        arguments=arguments,
        dataset=own.input_name,
        processes=own.processes,
        tries=own.max_retries + 1,
        timeout=own.timeout,
        failed_batches=own.mini_batch_error_threshold,
        failed_items=items,
        failed_percent=percent,
        logging_level=own.logging_level,
    )
    report = Report(Path("logs"))
    scratch = Path(tempfile.mkdtemp(prefix="mini-batches-"))
    try:
        os.environ.update(scoring_variables(own, scratch / "models"))
        batches = cut(own, scratch)
        report.say(
            f"Input {own.input_name}: {sum(batch.size for batch in batches)} "
            f"{'row(s)' if own.tabular else 'file(s)'} in {len(batches)} mini-batch(es)."
        )
        dispatch(settings, batches, report, scratch)
    except (BatchError, StepFailed) as error:
        report.fail(str(error))
        return 1
    else:
        if own.append_row_to:
            append_rows(Path(own.append_row_to), scratch, len(batches))
        return 0
    finally:
        report.close()
        shutil.rmtree(scratch, ignore_errors=True)


def scoring_variables(own: argparse.Namespace, folder: Path) -> dict[str, str]:
    """What tells the entry script of a batch deployment where its model and its results go."""
    variables = {}
    if own.model:
        model = Path(own.model)
        folder.mkdir()
        link(model.resolve(), folder / model.name)
        variables["AZUREML_MODEL_DIR"] = str(folder)
    if own.output_folder:
        Path(own.output_folder).mkdir(parents=True, exist_ok=True)
        variables["AZUREML_BI_OUTPUT_PATH"] = own.output_folder
    return variables


def append_rows(target: Path, scratch: Path, batches: int) -> None:
    """Write what all mini-batches returned into one file, in the order of the mini-batches."""
    if target.is_dir():
        target = target / "parallel_run_step.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as output:
        for index in range(batches):
            rows = scratch / f"{index}.rows"
            if rows.exists():
                output.write(rows.read_text(encoding="utf-8"))
