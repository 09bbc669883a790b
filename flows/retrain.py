"""Retrain when something is new, and release the new model only when it is the better one."""

from prefect import flow
from prefect.states import Completed

from flows.finetune import finetune
from flows.release import release
from tasks.approval import approval_page
from tasks.artifacts import image, markdown, run_logger
from tasks.cancelling import cancellable
from tasks.champion import crown, find_champion, record_verdict
from tasks.comparison import Verdict, compare, comparison_markdown, comparison_picture
from tasks.evaluation import Evaluation, evaluate_models
from tasks.family import undo_family
from tasks.recording import recording
from tasks.release_config import ReleaseConfig
from tasks.retrain_config import RetrainConfig
from tasks.retrain_report import RetrainReport
from tasks.retraining import Ingredients, look_up_ingredients, news, why_not
from tasks.values import RegisteredModel

_DEFAULTS = RetrainConfig()


@flow(name="retrain", on_cancellation=[undo_family], on_crashed=[undo_family])
def retrain(config: RetrainConfig = _DEFAULTS, workspace: str = "default") -> RetrainReport:
    """Train on what is new, measure the model against the champion, and release the better one.

    Ends as Skipped, within seconds, when the dataset, the foundation model, the component and the
    configuration are what the champion was made from.

    Args:
        config: The training, the comparison and the release.
        workspace: Name of the Azure ML Workspace block.
    """
    with recording(RetrainReport(workspace=workspace)) as run, cancellable(run.flow_run_id):
        _retrain(run, config, workspace)
    run_logger().info("%s. %s", run.status.capitalize(), run.reason)
    if run.status == "skipped":
        return Completed(name="Skipped", message=run.reason, data=run)  # type: ignore[return-value]
    return run


def _retrain(run: RetrainReport, config: RetrainConfig, workspace: str) -> RetrainReport:
    with run.stage("look"):
        if config.release and config.release.approval:
            approval_page(run.flow_run_id)  # known before the training, not after it
        wanted = look_up_ingredients(workspace, config)
        champion = find_champion(workspace, [wanted.model_name])
        run.key, run.champion = wanted.key, champion.model if champion else None
        run.news = news(wanted, champion)
        if not config.force and (reason := why_not(workspace, wanted, champion)):
            return run.end("skipped", reason)
        for sentence in run.news:
            run_logger().info("New: %s", sentence)

    with run.stage("train"):
        trained = finetune(wanted.config.finetune, workspace)
        assert trained.model
        assert trained.plan
        run.training, run.challenger = trained.flow_run_name, trained.model
        if run.champion and run.champion.is_same(trained.model) and not config.force:
            crown(workspace, trained.model, wanted.key, [wanted.model_name])
            return run.end("skipped", "What is new changes nothing that is trained on.")

    with run.stage("evaluate"):
        how = Evaluation(
            rows=trained.plan.data.test,
            choice=config.evaluation,
            cluster=trained.plan.names.cluster,
            experiment=trained.plan.names.experiment,
            flow_run_id=run.flow_run_id,
            poll_seconds=config.finetune.poll_seconds,
        )
        run.verdict = judge(run, workspace, how)

    return ship(run, workspace, wanted, run.verdict)


def judge(run: RetrainReport, workspace: str, how: Evaluation) -> Verdict:
    """Measure both models on the same rows; the verdict, shown."""
    assert run.challenger
    *earlier, run.challenger_scores = evaluate_models(
        workspace, [*([run.champion] if run.champion else []), run.challenger], how
    )
    run.champion_scores = earlier[0] if earlier else None
    verdict = compare(run.champion_scores, run.challenger_scores, how.choice)
    run.comparison = comparison_markdown(run.champion_scores, run.challenger_scores, verdict)
    markdown("comparison", run.comparison, "Champion and challenger")
    if picture := comparison_picture(run.champion_scores, run.challenger_scores):
        image("comparison-picture", picture, "Champion and challenger on the same rows")
    return verdict


def ship(
    run: RetrainReport, workspace: str, wanted: Ingredients, verdict: Verdict
) -> RetrainReport:
    """Release the challenger and make it the champion, or keep the champion that there is."""
    model, config = run.challenger, wanted.config
    assert model
    against = str(run.champion) if run.champion else None
    if not verdict.better:
        record_verdict(workspace, model, wanted.key, "worse", against)
        return run.end("kept the champion", str(verdict))
    record_verdict(workspace, model, wanted.key, "better", against)
    if config.release is not None and not _released(run, workspace, model, config.release):
        assert run.release
        if run.release.status == "refused":
            record_verdict(workspace, model, wanted.key, "refused", against)
        return run.end("not approved", run.release.reason)
    crown(workspace, model, wanted.key, [wanted.model_name])
    return run.end("new champion", str(verdict))


def _released(
    run: RetrainReport, workspace: str, model: RegisteredModel, config: ReleaseConfig
) -> bool:
    with run.stage("release"):
        run.release = release(str(model), config, workspace, run.comparison)
    return run.release.is_live


if __name__ == "__main__":
    from flows.retrain_command import main

    raise SystemExit(main())
