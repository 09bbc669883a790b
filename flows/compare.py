"""Fine-tune several configurations side by side, measure all on the same rows, release the best."""

from collections.abc import Sequence

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.finetune import finetune
from flows.release import release
from tasks import comparison
from tasks.approval import approval_page
from tasks.artifacts import markdown, run_logger, table
from tasks.cancelling import cancellable
from tasks.champion import crown, find_champion
from tasks.compare_config import CompareConfig, Variant
from tasks.compare_report import CompareReport, Entry
from tasks.config import FinetuneConfig
from tasks.data import download_data
from tasks.errors import UserError
from tasks.evaluation import Evaluation, evaluate_models
from tasks.explaining import explain, retry_on_transient
from tasks.family import undo_family
from tasks.naming import clean
from tasks.ownership import home
from tasks.recording import error_text, recording
from tasks.report import RunReport


@flow(name="compare", on_cancellation=[undo_family], on_crashed=[undo_family])
def compare(config: CompareConfig, workspace: str = "default") -> CompareReport:
    """Fine-tune several configurations, measure the models on the same rows, release the best.

    A training that fails does not stop the others. The best one is released only when a release is
    configured, and it is better than the champion.

    Args:
        config: The base, the variants, the comparison and the release.
        workspace: Name of the Azure ML Workspace block.
    """
    with recording(CompareReport(workspace=workspace)) as run, cancellable(run.flow_run_id):
        if config.release and config.release.approval:
            approval_page(run.flow_run_id)  # known before the training, not after it
        with run.stage("train"):
            run.entries = train_all(config, workspace)

        with run.stage("evaluate"):
            measure(run, config, workspace)
            table("comparison", run.rows(), "All trainings, the best first")

        ship(run, config, workspace)
    run_logger().info("%s. %s", run.status.capitalize(), run.reason)
    return run


def train_all(config: CompareConfig, workspace: str) -> list[Entry]:
    """Train the variants, some at once; an entry each, whatever became of it.

    Raises UserError when none has a model.
    """
    pool: ThreadPoolTaskRunner[RunReport] = ThreadPoolTaskRunner(max_workers=config.at_once)
    with pool as runner:
        futures = [
            runner.submit(
                train_variant,
                {
                    "name": variant.name,
                    "config": _without_endpoint(variant.over(config.base)),
                    "workspace": workspace,
                },
            )
            for variant in config.variants
        ]
        entries = [
            _entry(variant, future)
            for variant, future in zip(config.variants, futures, strict=True)
        ]
    if not any(entry.model for entry in entries):
        told = "".join(f"\n  {entry.name}: {entry.error}" for entry in entries)
        raise UserError(f"None of the trainings has brought a model:{told}")
    return entries


def _without_endpoint(config: FinetuneConfig) -> FinetuneConfig:
    serving = config.serving.model_copy(update={"test": False, "keep_endpoint": False})
    return config.model_copy(update={"serving": serving, "plan_only": False})


@task(
    name="train a variant",
    task_run_name="train {name}",
    cache_policy=NO_CACHE,
    retries=2,  # a busy Prefect server refuses one of many; what was begun is adopted
    retry_delay_seconds=10,
    retry_jitter_factor=0.5,
    retry_condition_fn=retry_on_transient,
)
def train_variant(name: str, config: FinetuneConfig, workspace: str) -> RunReport:
    """One of the trainings, as a run of its own inside this one."""
    return finetune.with_options(flow_run_name=clean(name))(config, workspace)


def _entry(variant: Variant, future: PrefectFuture[RunReport]) -> Entry:
    try:
        report = future.result()
    except Exception as error:
        if explain(error, f"Training {variant.name}") is None:
            raise
        run_logger().warning("%s: %s", variant.name, error_text(error))
        return Entry(name=variant.name, error=error_text(error))
    return Entry(name=variant.name, run=report.flow_run_name, model=report.model)


def measure(run: CompareReport, config: CompareConfig, workspace: str) -> None:
    """Give every model its scores, the champion's too, and put the best one first."""
    held_out = config.held_out or config.base.dataset
    how = Evaluation(
        rows=download_data(held_out, home() / "data").test,
        choice=config.evaluation,
        cluster=config.base.compute.cluster,
        experiment=config.base.experiment or "compare",
        flow_run_id=run.flow_run_id,
        poll_seconds=config.base.poll_seconds,
    )
    models = [entry.model for entry in run.entries if entry.model]
    champion = find_champion(workspace, _names(run.entries))
    run.champion = champion.model if champion else None
    wanted = [*models, *([run.champion] if run.champion else [])]
    scores = {each.model: each for each in evaluate_models(workspace, wanted, how)}
    run.entries = [
        entry.model_copy(update={"scores": scores.get(str(entry.model))}) for entry in run.entries
    ]
    run.champion_scores = scores.get(str(run.champion))
    run.rank()


def ship(run: CompareReport, config: CompareConfig, workspace: str) -> CompareReport:
    """Release the best one, if it is to be released and is better than the champion."""
    best = run.entries[0]
    assert best.model
    assert best.scores
    if run.champion and run.champion.is_same(best.model):
        return run.end("kept the champion", f"{best.name} is the champion already.")
    run.verdict = comparison.compare(run.champion_scores, best.scores, config.evaluation)
    shown = comparison.comparison_markdown(run.champion_scores, best.scores, run.verdict)
    markdown("best", shown, f"{best.name} and the champion")
    if not run.verdict.better:
        return run.end("kept the champion", str(run.verdict))
    if config.release is None:
        return run.end("compared", f"{best.name} is the best: {run.verdict}")
    with run.stage("release"):
        run.release = release(str(best.model), config.release, workspace, shown)
    if not run.release.is_live:
        return run.end("not approved", run.release.reason)
    crown(workspace, best.model, None, _names(run.entries))
    return run.end("new champion", f"{best.name}: {run.verdict}")


def _names(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.model.name for entry in entries if entry.model))


if __name__ == "__main__":
    from flows.compare_command import main

    raise SystemExit(main())
