"""Trying the model: it is deployed, asked once and taken down."""

from tasks.artifacts import run_logger
from tasks.asking import ask_model
from tasks.claims import Claim
from tasks.clients import workspace_client
from tasks.data import pick_conversation
from tasks.deployment import deploy_model
from tasks.endpoint import UNUSABLE, find_endpoint
from tasks.errors import UserError
from tasks.lineage import making_endpoint
from tasks.polling import status_word
from tasks.report import RunReport
from tasks.teardown import tear_down
from tasks.values import Plan, RegisteredModel

_TRIES = 3


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
