"""Several trainings in one run: all measured on the same rows, the best one released."""

from typing import Any

from tasks.compare_config import CompareConfig
from tests.flows.retrain_support import STRONG, WEAK, Retraining


def config(retraining: Retraining, **settings: Any) -> CompareConfig:
    base = retraining.config(WEAK)
    variants = [
        {"name": "weak"},
        {"name": "strong", "parameters": {"learning_rate": STRONG}},
        {"name": "unknown model", "model": {"name": "Phi-3-mini"}},
    ]
    return CompareConfig.model_validate(
        {
            "base": base.finetune,
            "variants": variants,
            "evaluation": base.evaluation,
            "release": base.release,
            **settings,
        }
    )


def test_the_best_is_released_and_what_fails_stops_nothing(retraining: Retraining) -> None:
    from flows.compare import compare

    report = compare(config(retraining))
    assert [entry.name for entry in report.entries[:2]] == ["strong", "weak"]
    (failed,) = (entry for entry in report.entries if entry.error)
    assert failed.name == "unknown model"
    assert "Phi-3-mini" in str(failed.error)
    assert report.status == "new champion"
    best = report.entries[0].model
    assert best
    assert retraining.live() == {best.version}
    rows = {entry.scores.rows_sha256 for entry in report.entries if entry.scores}
    assert len(rows) == 1

    again = compare(config(retraining, release=None))
    assert again.status == "kept the champion"
    assert "strong is the champion already" in again.reason
