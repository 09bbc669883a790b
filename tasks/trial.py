"""Trying the model: its endpoint is made beside the job, it is deployed, asked once, taken down."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prefect import task
from prefect.exceptions import TerminationSignal

from tasks.artifacts import run_logger, without_dots
from tasks.asking import ask_model
from tasks.claims import Claim, make_claim
from tasks.clients import REMOTE, workspace_client
from tasks.data import pick_conversation
from tasks.deployment import deploy_model
from tasks.endpoint import UNUSABLE, begin_endpoint, find_endpoint
from tasks.errors import UserError
from tasks.explaining import explain
from tasks.lineage import making_endpoint
from tasks.polling import status_word
from tasks.report import RunReport
from tasks.teardown import tear_down
from tasks.values import Plan, RegisteredModel

_TRIES = 3


@task(name="begin the endpoint", task_run_name="begin {plan.names.endpoint}", **REMOTE)
def begin_trial_endpoint(workspace: str, plan: Plan, tags: dict[str, str]) -> None:
    """Ask for the endpoint, which costs nothing without a deployment, and do not wait for it."""
    names = plan.names
    with without_dots():
        begin_endpoint(workspace_client(workspace), names.endpoint, names.display_name, tags)


@dataclass
class Trial:
    """The trial of one training's model; `end` leaves nothing of it that is billed."""

    run: RunReport
    workspace: str
    tags: dict[str, str]
    _plan: Plan | None = None

    def begin(self, plan: Plan) -> None:
        """Ask for the endpoint of this attempt, for Azure to make it while the job trains.

        One that is to stay is made when there is a model to stay with. What fails here is tried
        again then, and told.
        """
        serving = plan.config.serving
        if not serving.test or serving.keep_endpoint:
            return
        if self._plan is not None and self._plan.names.endpoint != plan.names.endpoint:
            self.end()  # of the attempt before
        self._plan = plan
        try:
            begin_trial_endpoint(self.workspace, plan, self.tags)
        except Exception as error:
            clear = explain(error, f"Creating endpoint {plan.names.endpoint}")
            if clear is None:
                raise
            run_logger().warning("The endpoint is not made beside the job: %s", clear.message)

    def of(self, plan: Plan, model: RegisteredModel) -> None:
        """Deploy the model and ask it once; the report gets endpoint and reply."""
        self._plan = plan
        try_model(self.run, self.workspace, plan, model, self.tags)

    def end(self) -> None:
        """Take the endpoint down, if there was to be one."""
        plan, self._plan = self._plan, None
        if plan is not None:
            with self.run.stage("tear down"):
                end_trial(self.run, make_claim(self.run.flow_run_id, self.workspace, plan))


@contextmanager
def trial(run: RunReport, workspace: str, tags: dict[str, str]) -> Iterator[Trial]:
    """A trial that ends however its block is left.

    A run that is stopped while its job trains leaves both to the hook that undoes the run: it
    cancels the job first.
    """
    one = Trial(run, workspace, tags)
    try:
        yield one
    except (KeyboardInterrupt, TerminationSignal):
        if run.model is not None:
            one.end()
        raise
    except BaseException:
        one.end()
        raise
    one.end()


def try_model(
    run: RunReport, workspace: str, plan: Plan, model: RegisteredModel, tags: dict[str, str]
) -> None:
    """Deploy the model and ask it once; the report gets endpoint and reply.

    A run of the same training on another Prefect server may take the endpoint down that both use:
    then it is made again.
    """
    conversation = pick_conversation(plan.data, plan.config.dataset.seed)
    for tries_left in reversed(range(_TRIES)):
        try:
            with run.stage("deploy"):
                deploy = making_endpoint(deploy_model, workspace, plan)
                run.endpoint = deploy(workspace, plan, model, tags)
            with run.stage("ask"):
                run.reply = ask_model(
                    workspace, run.endpoint, conversation, plan.config.serving.max_new_tokens
                )
        except UserError as error:
            if not tries_left or not _has_vanished(workspace, plan.names.endpoint):
                raise
            run_logger().warning("The endpoint was deleted by someone else: %s", error.message)
        else:
            return


def _has_vanished(workspace: str, name: str) -> bool:
    endpoint = find_endpoint(workspace_client(workspace), name)
    state = "" if endpoint is None else status_word(endpoint.provisioning_state).lower()
    return endpoint is None or (state in UNUSABLE and state != "failed")


def end_trial(run: RunReport, claim: Claim) -> None:
    """Take the endpoint down, unless it is to stay or another run still uses it."""
    name = f"endpoint ft-{claim.run_key}"
    if claim.endpoint is None:
        run_logger().warning("The %s stays, and is billed.", name)
        run.kept.append(name)
        return
    deleted, left_to = tear_down(claim)
    if deleted:
        run.deleted.append(f"endpoint {claim.endpoint}")
    if left_to:
        run.kept.append(f"endpoint {claim.endpoint}, left to {', '.join(left_to)}")
