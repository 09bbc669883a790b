"""The training: one job for one run key, whoever submitted it, followed to its end."""

from collections.abc import Callable

from tasks.artifacts import run_logger
from tasks.claims import update
from tasks.errors import ErrorKind, JobFailed
from tasks.following import follow_job
from tasks.report import RunReport
from tasks.submission import choose_attempt, submit_job
from tasks.values import Plan


def train(
    run: RunReport,
    workspace: str,
    plan: Plan,
    tags: dict[str, str],
    *meanwhile: Callable[[Plan], object],
) -> Plan:
    """Submit or adopt the job and wait for it; the plan with the names of its attempt.

    `meanwhile`: called with the plan of each attempt when its job is submitted.
    A failure that is likely to pass (a lost node, say) is followed by the next attempt, within
    `max_attempts`. Any other one raises JobFailed.
    """
    while True:
        plan = choose_attempt(workspace, plan)
        endpoint = None if plan.config.serving.keep_endpoint else plan.names.endpoint
        update(run.flow_run_id, job=plan.names.job, endpoint=endpoint)
        run.job = submit_job(workspace, plan, tags)
        for each in meanwhile:
            each(plan)
        try:
            run.outcome = follow_job(
                workspace, run.job, plan.config.deadlines, plan.config.poll_seconds
            )
        except JobFailed as error:
            if error.kind is not ErrorKind.TRANSIENT:
                raise
            run_logger().warning("%s", error.message)
            continue  # the attempts are counted when the next one is chosen
        return plan
