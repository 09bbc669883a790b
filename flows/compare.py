"""Fine-tune several configurations side by side, measure all on the same rows, release the best."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.finetune import finetune
from tasks.config import FinetuneConfig
from tasks.report import RunReport


@task(name="train a variant", task_run_name="train {name}", cache_policy=NO_CACHE)
def train_variant(name: str, config: FinetuneConfig, workspace: str) -> RunReport:
    """One of the trainings, as a run of its own inside this one."""
    return finetune.with_options(flow_run_name=name)(config, workspace)
