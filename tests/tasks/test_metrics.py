from typing import Any

from mlflow.entities import Metric, Run, RunData, RunInfo

from tasks.metrics import _curve, first_and_last, losses_markdown, metric_rows, training_run
from tasks.values import MetricPoint, Metrics


def run(name: str, **metrics: float) -> Run:
    info = RunInfo(
        run_id=name,
        experiment_id="0",
        user_id="u",
        status="FINISHED",
        start_time=0,
        end_time=1,
        lifecycle_stage="active",
    )
    return Run(info, RunData([Metric(key, value, 0, 0) for key, value in metrics.items()]))


def found(*runs: Run) -> Any:
    chosen = training_run(runs)
    return chosen.info.run_id if chosen else None


def test_the_training_run_is_the_one_with_epochs() -> None:
    assert found(run("root"), run("evaluation", accuracy=1), run("train", epoch=1, loss=2)) == (
        "train"
    )


def test_of_several_runs_the_richest_is_taken() -> None:
    assert found(run("root", epoch=1), run("train", epoch=1, loss=2, eval_loss=3)) == "train"


def test_a_loss_will_do_where_no_run_has_epochs() -> None:
    assert found(run("a"), run("b", train_loss=1)) == "b"
    assert found(run("a"), run("b", accuracy=1)) is None
    assert found() is None


def test_a_curve_is_in_the_order_of_its_steps_without_values_that_are_none() -> None:
    history = [Metric("loss", v, 0, step) for v, step in [(1.0, 20), (3.0, 0), (float("nan"), 10)]]
    assert [point.step for point in _curve(history)] == [0, 20]


def curves(**values: list[float]) -> Metrics:
    return Metrics(
        run_id="r",
        last={name: points[-1] for name, points in values.items()},
        curves={
            name: tuple(MetricPoint(step=n, value=v) for n, v in enumerate(points))
            for name, points in values.items()
        },
    )


def test_rows_show_where_each_metric_began_and_ended() -> None:
    metrics = curves(eval_loss=[5.0, 4.0, 3.0])
    assert metric_rows(metrics) == [{"metric": "eval_loss", "first": "5", "last": "3"}]
    assert first_and_last(metrics, "eval_loss") == (5.0, 3.0)
    assert first_and_last(metrics, "loss") is None


def test_a_metric_without_a_curve_has_its_last_value_only() -> None:
    metrics = Metrics(run_id="r", last={"epoch": 3.0})
    assert metric_rows(metrics) == [{"metric": "epoch", "first": "3", "last": "3"}]


def test_the_ends_and_the_best_of_the_losses_stand_in_a_table() -> None:
    told = losses_markdown(curves(loss=[3.0, 2.0], eval_loss=[3.5, 2.25, 2.5]))
    assert "| training loss | 3 | 2 | 2, step 1 | 2 |" in told
    assert "| evaluation loss | 3.5 | 2.5 | 2.25, step 1 | 3 |" in told
